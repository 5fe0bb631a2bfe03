# SPDX-License-Identifier: Apache-2.0
"""The engine row as its host sees it: the token, the heartbeat, the host's columns."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from jobs import processes
from jobs.kept_sql import sql_of
from jobs.models import Batch, Engine, ServedModel, Suspect
from jobs.models.engines import STALE_SECONDS, database_time

# For so long a reading is good enough while the wishes are the same.
READ_SECONDS = 4.0
WISHES = ("wanted_model_id", "gpu_ids", "generation", "paused", "drained", "restart_of")


class NotAManagedEngine(Exception):
    """The name belongs to an external engine."""


class LostToken(Exception):
    """Another host has taken this engine over."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the feeder and people ask of the engine, as of `now` (database time).

    `loadable`: the wanted model can be loaded, and here.
    """

    now: datetime
    wanted: ServedModel | None
    in_flight: int
    worker_heartbeat: datetime | None
    worker_lives: bool
    gpu_ids: str
    generation: int
    paused: bool
    drained: bool
    restart_of: int | None
    loadable: bool
    incident_deaths: int


class HostRow:
    """Reads and writes one Engine row on behalf of the host that holds its token."""

    def __init__(
        self, name: str, *, gpu_ids: str | None = None, reserved: bool | None = None
    ) -> None:
        """Make the row if it is missing; what is None stays as the row says."""
        engine, _ = Engine.objects.get_or_create(
            name=name, defaults={"kind": Engine.Kind.MANAGED}
        )
        if engine.kind != Engine.Kind.MANAGED:
            raise NotAManagedEngine(
                f"{name} is an external engine at {engine.base_url}: it has no host."
            )
        self.pk = engine.pk
        self.name = name
        self.token = processes.token()
        self.gpu_ids = engine.gpu_ids if gpu_ids is None else gpu_ids
        self._told = {} if reserved is None else {"reserved": reserved}
        self._read_at = -READ_SECONDS
        self._glimpsed: tuple[object, ...] = ()

    def acquire(self) -> str:
        """Take the token if its holder is silent for 15 s or provably gone.

        Returns "" on success, else who holds it, in words.
        """
        row = Engine.objects.filter(pk=self.pk)
        holder = row.values_list("host_token", flat=True).get()
        silent = Q(host_heartbeat__isnull=True) | Q(
            host_heartbeat__lt=database_time(-STALE_SECONDS)
        )
        free = Q(host_token__in=["", self.token]) | silent
        if processes.provably_gone(holder):
            free |= Q(host_token=holder)
        won = row.filter(free).update(
            host_token=self.token,
            host_heartbeat=Now(),
            gpu_ids=self.gpu_ids,
            **self._told,
        )
        if won:
            return ""
        named = processes.read_token(holder)
        who = (
            f"process {named.pid} on {named.host}"
            if named
            else holder or "another host"
        )
        return f"{who} runs engine {self.name}"

    def write(self, **columns: Any) -> None:
        """Heartbeat, and these of the host's columns; LostToken when it is not ours."""
        if not Engine.objects.filter(pk=self.pk, host_token=self.token).update(
            host_heartbeat=Now(), **columns
        ):
            raise LostToken(f"another host has taken over engine {self.name}")

    def holds(self) -> bool:
        """Whether what was read in the last 4 s still holds: a cheap look at the wishes.

        Not what changes by itself: requests in flight, and signs of the worker's life.
        """
        if time.monotonic() - self._read_at >= READ_SECONDS:
            return False
        with connection.cursor() as cursor:
            cursor.execute(_glimpse_sql(), [self.pk])
            return bool(cursor.fetchone() == self._glimpsed)

    def read(self) -> Wishes:
        """The columns of the others; `worker_lives` means seen within 15 s."""
        self._read_at = time.monotonic()
        engine = (
            Engine.objects.filter(pk=self.pk)
            .annotate(
                now=Now(),
                worker_lives=Q(worker_heartbeat__gt=database_time(-STALE_SECONDS)),
            )
            .select_related("wanted_model__base")
            .get()
        )
        self._glimpsed = tuple(getattr(engine, column) for column in WISHES)
        annotated = vars(engine)
        return Wishes(
            now=annotated["now"],
            wanted=engine.wanted_model,
            in_flight=engine.in_flight,
            worker_heartbeat=engine.worker_heartbeat,
            # NULL > … is NULL
            worker_lives=bool(annotated["worker_lives"]),
            gpu_ids=engine.gpu_ids,
            generation=engine.generation,
            paused=engine.paused,
            drained=engine.paused and engine.drained,
            restart_of=engine.restart_of,
            loadable=may_load(engine, engine.wanted_model),
            incident_deaths=engine.incident_deaths,
        )

    def may_load(self, model: ServedModel) -> bool:
        """Whether the model can be loaded, and here."""
        return may_load(Engine.objects.get(pk=self.pk), model)

    def why_not(self, model: ServedModel) -> str:
        """Why the model cannot be loaded here, in words."""
        if model.state != ServedModel.State.ENABLED:
            return f"it is {model.state}"
        if not model.source:
            return "only external engines serve it"
        pins = list(model.engines.values_list("name", flat=True))
        if pins:
            return f"it is pinned to {', '.join(pins)}"
        return "this engine is reserved for the models that are pinned to it"

    def release(self) -> None:
        """Give the token back, so that the next host need not wait."""
        Engine.objects.filter(pk=self.pk, host_token=self.token).update(
            host_token="", host_heartbeat=None
        )


@cache
def _glimpse_sql() -> str:
    """Asks for an engine's wishes, by its key."""
    return sql_of(Engine.objects.filter(pk=0).order_by().values_list(*WISHES), 0)


def may_load(engine: Engine, model: ServedModel | None) -> bool:
    """Whether the managed engine can and may load the model."""
    if model is None:
        return False
    here = ServedModel.objects.loadable().placed_on(engine)
    return here.filter(pk=model.pk).exists()


def has_open_suspects(engine: int) -> bool:
    """Whether a request is still to run that may have killed that engine."""
    return Suspect.objects.filter(
        last_engine=engine,
        request__result__isnull=True,
        request__batch__status=Batch.Status.IN_PROGRESS,
        request__batch__paused=False,
    ).exists()
