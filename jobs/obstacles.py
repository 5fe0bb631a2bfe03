# SPDX-License-Identifier: Apache-2.0
"""What could run batches just now, and what stands in the way, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import BooleanField, ExpressionWrapper, Q

from .jsonl import quoted
from .models import Engine, EngineModel, ServedModel, WorkerProcess
from .models.engines import STALE_SECONDS, database_time


@dataclass(frozen=True, slots=True)
class Site:
    """What could run batches: engines with what they serve, models that do not load."""

    engines: Sequence[Engine]
    serves: Mapping[int, frozenset[str]]
    broken: Mapping[str, str]
    control_worker: bool
    control_trouble: str = ""

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
            return f"no engine serves the model {quoted(model)}"
        reasons = [obstacle(engine) for engine in able]
        return reasons[0] if all(reasons) else None


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
    models = list(ServedModel.objects.all())
    enabled = {m.name for m in models if m.state == ServedModel.State.ENABLED}
    loadable = frozenset(m.name for m in models if m.source and m.name in enabled)
    external: defaultdict[int, set[str]] = defaultdict(set)
    pairs = EngineModel.objects.values_list("engine", "served_model__name")
    for engine, name in pairs:
        external[engine].add(name)
    workers = WorkerProcess.objects.filter(heartbeat__gt=fresh)
    troubles = list(workers.values_list("trouble", flat=True))
    return Site(
        engines,
        {
            e.pk: loadable
            if e.kind == Engine.Kind.MANAGED
            else frozenset(external[e.pk] & enabled)
            for e in engines
        },
        {m.name: _broken(m) for m in models if m.state != ServedModel.State.ENABLED},
        bool(troubles),
        # One that can work is enough.
        troubles[0] if troubles and all(troubles) else "",
    )


def _flag(condition: Q) -> ExpressionWrapper[Q]:
    return ExpressionWrapper(condition, output_field=BooleanField())


def _broken(model: ServedModel) -> str:
    if model.state == ServedModel.State.DISABLED:
        return "is disabled"
    return f"does not load: {quoted(model.state_reason, 300)}"
