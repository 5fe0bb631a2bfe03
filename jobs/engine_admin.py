# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Engines in the admin: addresses and models to set; pause, drain, restart and resume as actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import User

from . import holding
from .admin_tables import Changeable
from .models import Engine, EngineModel
from .refusals import Refused


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
        "paused",
        "drained",
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
    def drain(self, request: HttpRequest, queryset: QuerySet[Engine]) -> None:
        """Pause, and unload the models; external engines are named and left."""
        self._each(request, queryset, holding.drain, "drained")

    @admin.action(description="Restart the chosen engines", permissions=["change"])
    def restart(self, request: HttpRequest, queryset: QuerySet[Engine]) -> None:
        """Have their hosts end them and start them anew; others are named and left."""
        self._each(request, queryset, holding.restart, "restarted")

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
        assert isinstance(request.user, User)
        changed = []
        for engine in engines.order_by("name"):
            try:
                if do(
                    engine=engine, user=request.user, address=client_address(request)
                ):
                    changed.append(engine.name)
            except Refused as refused:
                self.message_user(request, refused.message, messages.WARNING)
        names = ", ".join(changed)
        self.message_user(
            request,
            f"{done.capitalize()}: {names}." if names else f"No engine was {done}.",
        )
