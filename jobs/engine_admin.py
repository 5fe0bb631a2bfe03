# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Engines in the admin: addresses and models to set, actions, and their history to read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from batchsite.accounts.addresses import client_address
from batchsite.accounts.admin_lists import words_filter
from batchsite.accounts.admin_parts import (
    Link,
    Question,
    actor,
    listed,
    shown,
    unsure,
)

from . import holding
from .admin_tables import Changeable, OfBatch, ReadOnly, batch_link, batch_page, hostile
from .models import Chunk, Engine, EngineEvent, EngineModel, Measurement
from .refusals import Refused

DRAIN = Question(
    "Drain engines",
    "They take no more requests; once what is in flight has ended, their hosts unload"
    " the models, and loading them again takes its time.",
    "Drain these engines",
)
RESTART = Question(
    "Restart engines",
    "What is in flight gets the drain limit to end, and the rest of it runs again. The"
    " hosts load the models anew.",
    "Restart these engines",
)


class EngineModelInline(admin.TabularInline):
    model = EngineModel
    extra = 0


class EngineAdmin(Changeable):
    """People set the address; state and gauges belong to the processes.

    Pausing is an action, so that each has its line in the audit log.
    """

    list_display = [
        "name",
        "kind",
        "state",
        "loaded_model",
        "in_flight",
        "hold",
        "version",
        "host_heartbeat",
        "worker_heartbeat",
    ]
    list_filter = ["kind", "state", "paused"]
    search_fields = ["name", "base_url"]
    list_select_related = ["loaded_model"]
    inlines = [EngineModelInline]
    actions = ["pause", "drain", "restart", "resume"]
    changeable = ("name", "kind", "base_url", "api_key_env", "gpu_ids", "reserved")

    def view_on_site(self, obj: Engine) -> str:
        return _place_of(obj)

    def related(self, obj: Engine) -> Iterable[Link]:
        """Its history, its measurements, and what it works on."""
        yield listed(EngineEvent, "Events", engine__id__exact=obj.pk)
        yield listed(Measurement, "Measurements", engine__id__exact=obj.pk)
        yield listed(Chunk, "Leased chunks", engine__id__exact=obj.pk, state="leased")
        yield from shown(obj.loaded_model, "Loaded model")

    def save_model(
        self, request: HttpRequest, obj: Engine, form: Any, change: bool
    ) -> None:
        """Write only what was changed: host and worker write the rest all the time."""
        if not change:
            obj.save()
        elif form.changed_data:
            obj.save(update_fields=form.changed_data)

    @admin.action(description="Pause the chosen engines", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Engine]) -> None:
        """No new requests; models stay loaded."""
        self._each(request, queryset, holding.pause, "paused")

    @admin.action(
        description="Drain the chosen engines (pause, and unload their models)",
        permissions=["change"],
    )
    def drain(
        self, request: HttpRequest, queryset: QuerySet[Engine]
    ) -> HttpResponse | None:
        """Pause, and unload the models; external engines are named and left."""
        if asked := unsure(self, request, queryset, DRAIN):
            return asked
        self._each(request, queryset, holding.drain, "drained")
        return None

    @admin.action(description="Restart the chosen engines", permissions=["change"])
    def restart(
        self, request: HttpRequest, queryset: QuerySet[Engine]
    ) -> HttpResponse | None:
        """Have their hosts end them and start them anew; others are named and left."""
        if asked := unsure(self, request, queryset, RESTART):
            return asked
        self._each(request, queryset, holding.restart, "restarted")
        return None

    @admin.action(description="Resume the chosen engines", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Engine]) -> None:
        """Let them take requests again."""
        self._each(request, queryset, holding.resume, "resumed")

    def _each(
        self,
        request: HttpRequest,
        engines: QuerySet[Engine],
        do: Callable[..., bool],
        done: str,
    ) -> None:
        changed = []
        for engine in engines.order_by("name"):
            try:
                if do(
                    engine=engine, user=actor(request), address=client_address(request)
                ):
                    changed.append(engine.name)
            except Refused as refused:
                self.message_user(request, refused.message, messages.WARNING)
        names = ", ".join(changed)
        self.message_user(
            request,
            f"{done.capitalize()}: {names}." if names else f"No engine was {done}.",
        )


class EngineEventAdmin(ReadOnly):
    list_display = [
        *("at", "engine", "kind", "old_state", "new_state", hostile("model")),
        *("seconds", "by", hostile("reason")),
    ]
    list_filter = [
        "engine",
        "kind",
        words_filter("new state", "new_state", dict(Engine.State.choices)),
    ]
    list_select_related = ["engine"]

    def view_on_site(self, obj: EngineEvent) -> str:
        return _place_of(obj.engine)

    def related(self, obj: EngineEvent) -> Iterable[Link]:
        """The engine, and its other events."""
        yield from shown(obj.engine, "Engine")
        yield listed(EngineEvent, "All its events", engine__id__exact=obj.engine_id)


class EngineModelAdmin(admin.ModelAdmin):
    list_display = ["engine", "served_model", "remote_name", "window"]
    list_filter = ["engine"]
    search_fields = ["served_model__name", "remote_name"]
    list_select_related = ["engine", "served_model"]


class WorkerProcessAdmin(ReadOnly):
    list_display = ["token", "started_at", "heartbeat", "trouble"]


class MeasurementAdmin(ReadOnly):
    list_display = [
        "served_model",
        "engine",
        "hardware",
        "rows",
        "input_tokens",
        "output_tokens",
        "seconds",
        "latency",
        "concurrency",
        "created_at",
    ]
    list_filter = ["served_model", "engine"]
    search_fields = ["served_model__name", "hardware"]
    list_select_related = ["served_model", "engine"]

    def view_on_site(self, obj: Measurement) -> str:
        return reverse("model-detail", args=[obj.served_model_id])


class ThroughputSampleAdmin(OfBatch):
    list_display = [
        *("at", batch_link, "engine", "rows", "output_tokens", "seconds"),
        "resolution",
    ]
    list_filter = ["engine"]
    search_fields = ["engine__name"]
    list_select_related = ["batch", "engine"]
    view_on_site = staticmethod(batch_page)


def _place_of(engine: Engine) -> str:
    """The engine's card on the site."""
    return f"{reverse('engine-list')}#engine-{engine.pk}"
