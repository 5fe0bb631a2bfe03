# SPDX-License-Identifier: Apache-2.0
"""What could run batches just now, and what stands in the way, in words."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q

from .jsonl import quoted
from .models import Engine, EngineModel, ServedModel, WorkerProcess
from .models.engines import STALE_SECONDS, database_time

# SQLite's log alone grows by some pages with each commit.
LEAST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Site:
    """What could run batches: engines with what they serve, models that do not load.

    `loadable` are the models that some managed engine could load; `pinned` names the
    engines that alone may, where that is so.
    """

    engines: Sequence[Engine]
    serves: Mapping[int, frozenset[str]]
    broken: Mapping[str, str]
    loadable: frozenset[str]
    pinned: Mapping[str, Sequence[str]]
    control_worker: bool
    control_trouble: str = ""
    database_full: bool = False
    files_full: bool = False

    def able(self, model: str) -> list[Engine]:
        """Engines that could run the model if nothing stood in the way."""
        return [e for e in self.engines if model in self.serves[e.pk]]

    def ready(self, model: str) -> list[Engine]:
        """Engines that can run the model now."""
        return [engine for engine in self.able(model) if not obstacle(engine)]

    def why_waiting(self, model: str) -> str | None:
        """Why no engine can run the model now, in words; None when one can."""
        if model in self.broken:
            return f"the model {quoted(model)} {self.broken[model]}"
        able = self.able(model)
        if not able:
            return self._why_not_able(model)
        reasons = [obstacle(engine) for engine in able]
        if not all(reasons):
            return None
        pins = self.pinned.get(model, ())
        if not all(engine.name in pins for engine in able):
            return reasons[0]
        return f"the model {quoted(model)} needs {_in_need(pins, able[0], reasons[0])}"

    def _why_not_able(self, model: str) -> str:
        managed = any(e.kind == Engine.Kind.MANAGED for e in self.engines)
        if managed and model in self.loadable:
            return (
                f"all engines are reserved for other models than {quoted(model)}: pin it"
                " to one of them, or let one load any model"
            )
        return f"no engine serves the model {quoted(model)}"


def _in_need(pins: Sequence[str], engine: Engine, reason: str) -> str:
    """The engines that a pinned model needs, and what keeps the first of them."""
    own = f"the engine {engine.name} "
    if len(pins) == 1 and reason.startswith(own):
        return f"{own.rstrip()}, which {reason.removeprefix(own)}"
    return f"the engine {' or '.join(pins)}: {reason}"


def has_room(path: Path) -> bool:
    """Whether the disk of that folder, or of where it will be, can take anything more.

    A disk that does not tell is taken for one with room.
    """
    try:
        while not path.exists() and path != path.parent:
            path = path.parent
        return shutil.disk_usage(path).free >= LEAST_BYTES
    except OSError:
        return True


def database_is_full() -> bool:
    """Whether the database is a file on a disk that is full."""
    if connection.vendor != "sqlite":
        return False
    name = str(connection.settings_dict["NAME"])
    return Path(name).is_absolute() and not has_room(Path(name).parent)


def files_are_full() -> bool:
    """Whether the disk that takes uploads and result files is full."""
    return not has_room(Path(settings.DATA_DIR))


def obstacle(engine: Engine) -> str:
    """What keeps the engine from taking requests, in words; empty: nothing."""
    if not getattr(engine, "worker_alive", False):
        return f"no worker is running for the engine {engine.name}"
    managed = engine.kind == Engine.Kind.MANAGED
    if managed and not getattr(engine, "host_alive", False):
        return f"the engine {engine.name} is not running"
    if engine.paused:
        return f"the engine {engine.name} is {engine.hold}"
    if reasons := engine.gate_reasons:
        return f"the engine {engine.name} takes no new requests: {reasons[0]}"
    if engine.fault:
        return f"the engine {engine.name}: {quoted(engine.fault, 300)}"
    if not managed or engine.state == Engine.State.READY:
        return ""
    if engine.state == Engine.State.LOADING and engine.wanted_model:
        return f"the engine {engine.name} is loading {engine.wanted_model.name}"
    if engine.state == Engine.State.FAILED:
        return f"the engine {engine.name} failed: {quoted(engine.state_reason, 300)}"
    return f"the engine {engine.name} is {engine.state}"


def read_site() -> Site:
    """Engines and what they serve, with their signs of life by the database's clock."""
    fresh = database_time(-STALE_SECONDS)
    engines = list(
        Engine.objects.select_related("loaded_model", "wanted_model").annotate(
            worker_alive=_flag(Q(worker_heartbeat__gt=fresh)),
            host_alive=_flag(Q(host_heartbeat__gt=fresh)),
        )
    )
    models = list(
        ServedModel.objects.select_related("base").prefetch_related(
            "engines", "base__engines"
        )
    )
    enabled = {m.name for m in models if m.state == ServedModel.State.ENABLED}
    loadable = frozenset(m.name for m in models if m.is_loadable)
    pinned = {m.name: [e.name for e in (m.base or m).engines.all()] for m in models}
    external: defaultdict[int, set[str]] = defaultdict(set)
    pairs = EngineModel.objects.values_list("engine", "served_model__name")
    for engine, name in pairs:
        external[engine].add(name)
    workers = WorkerProcess.objects.filter(heartbeat__gt=fresh)
    troubles = list(workers.values_list("trouble", flat=True))
    return Site(
        engines,
        {
            e.pk: frozenset(m for m in loadable if _may_load(e, pinned[m]))
            if e.kind == Engine.Kind.MANAGED
            else frozenset(external[e.pk] & enabled)
            for e in engines
        },
        {m.name: why for m in models if (why := _broken(m))},
        loadable,
        {name: pins for name, pins in pinned.items() if pins},
        bool(troubles),
        # One that can work is enough.
        troubles[0] if troubles and all(troubles) else "",
        database_full=database_is_full(),
        files_full=files_are_full(),
    )


def _may_load(engine: Engine, pins: Sequence[str]) -> bool:
    """As ServedModelQuerySet.placed_on() says."""
    return engine.name in pins if pins else not engine.reserved


def _flag(condition: Q) -> ExpressionWrapper[Q]:
    return ExpressionWrapper(condition, output_field=BooleanField())


def _broken(model: ServedModel) -> str:
    """Why no engine runs the model, as the end of a sentence about it; "" if one might."""
    if model.state == ServedModel.State.DISABLED:
        return "is disabled"
    if model.state == ServedModel.State.FAILED:
        return f"does not load: {quoted(model.state_reason, 300)}"
    if model.base and (why := _broken(model.base)):
        return f"needs its base model {quoted(model.base.name)}, which {why}"
    return ""
