# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Models in the admin: enable, disable and retry as actions, and no way to lose one in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from batchsite.accounts.addresses import client_address
from batchsite.accounts.admin_parts import Link, Linked, actor, listed, shown

from . import catalogue
from .models import Batch, Engine, EngineModel, Measurement, ServedModel


class ServedModelForm(forms.ModelForm):
    """Pins belong to the base; ServedModel.clean() says what else an adapter is not."""

    def clean(self) -> dict[str, Any]:
        """Refuse pins of an adapter."""
        found: dict[str, Any] = super().clean() or self.cleaned_data
        if found.get("base") and found.get("engines"):
            self.add_error(
                "engines",
                f"An adapter runs where its base runs: pin {found['base']} instead.",
            )
        return found


class ServedModelAdmin(Linked):
    """What it is may be changed; its state is moved by the actions, which count anew."""

    form = ServedModelForm
    list_display = [
        "name",
        "source",
        "base",
        "revision",
        "state",
        "load_failures",
        "created_at",
    ]
    list_filter = ["state"]
    list_select_related = ["base"]
    filter_horizontal = ["engines"]
    search_fields = ["name", "source"]
    readonly_fields = ["state", "state_reason", "load_failures", "created_at"]
    actions = ["enable", "disable", "retry"]

    def view_on_site(self, obj: ServedModel) -> str:
        return reverse("model-detail", args=[obj.pk])

    def related(self, obj: ServedModel) -> Iterable[Link]:
        """Where it runs, how fast, and what asks for it."""
        yield from shown(obj.base, "Base")
        yield listed(ServedModel, "Adapters", base__id__exact=obj.pk)
        yield listed(Engine, "Engines that have it", loaded_model__id__exact=obj.pk)
        yield listed(
            EngineModel, "Servers that list it", served_model__id__exact=obj.pk
        )
        yield listed(Measurement, "Measurements", served_model__id__exact=obj.pk)
        yield listed(Batch, "Batches", model__exact=obj.name)

    def has_delete_permission(
        self, request: HttpRequest, obj: ServedModel | None = None
    ) -> bool:
        """One at a time, and only what nothing needs any more."""
        allowed = super().has_delete_permission(request, obj)
        return allowed and obj is not None and not catalogue.why_kept(obj)

    @admin.action(description="Enable the chosen models", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[ServedModel]) -> None:
        """Batches may name them again."""
        self._each(request, queryset, catalogue.enable, "enabled")

    @admin.action(description="Disable the chosen models", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[ServedModel]) -> None:
        """No new batch may name them."""
        self._each(request, queryset, catalogue.disable, "disabled")

    @admin.action(
        description="Try the chosen models again that failed to load",
        permissions=["change"],
    )
    def retry(self, request: HttpRequest, queryset: QuerySet[ServedModel]) -> None:
        """Engines load them again."""
        self._each(request, queryset, catalogue.retry, "made ready for another load")

    def _each(
        self,
        request: HttpRequest,
        models: QuerySet[ServedModel],
        do: Callable[..., bool],
        done: str,
    ) -> None:
        address = client_address(request)
        changed = [
            model.name
            for model in models.order_by("name")
            if do(model=model, user=actor(request), address=address)
        ]
        names = ", ".join(changed)
        self.message_user(
            request,
            f"{done.capitalize()}: {names}." if names else f"No model was {done}.",
        )
