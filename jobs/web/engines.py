# SPDX-License-Identifier: Apache-2.0
"""What engines and workers are doing, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import (
    BooleanField,
    ExpressionWrapper,
    Q,
    Sum,
    prefetch_related_objects,
)

from jobs import obstacles, track_record
from jobs.engines import sharing
from jobs.health import Closure, ended_gates
from jobs.models import (
    Batch,
    Engine,
    EngineModel,
    ThroughputSample,
    WorkerProcess,
)
from jobs.models.engines import STALE_SECONDS, database_time
from jobs.templatetags.figures import duration, percent, printable, size, thousands

from .asks import Asked, asked

# From here on a gauge wants an eye.
HOT = 0.92
SPEED_SECONDS = 60


@dataclass(frozen=True)
class Gauge:
    """A bar with its number; `width` in hundredths, None where there is no scale."""

    label: str
    value: str
    width: str | None = None
    hot: bool = False


@dataclass(frozen=True)
class Gpu:
    """One graphics card's bars."""

    name: str
    gauges: list[Gauge]


@dataclass(frozen=True)
class Past:
    """A time in which readings kept the engine from taking requests."""

    since: datetime
    until: datetime
    cause: str


@dataclass(frozen=True)
class EngineCard:
    """An engine as its card shows it."""

    engine: Engine
    running: bool
    worker_alive: bool
    host_alive: bool
    model: str
    doing: str
    log: str
    gauges: list[Gauge]
    gpus: list[Gpu]
    gpu_note: str
    asked: Asked | None
    closed: list[str]
    ended: list[Past]
    mends: list[tuple[str, str]]
    facts: list[tuple[str, str]]
    records: list[tuple[str, str]]


@dataclass(frozen=True)
class Alarm:
    """Something that does not work, and the command or the page that mends it."""

    title: str
    text: str
    command: str = ""
    page: str = ""


def engines() -> list[Engine]:
    """All engines with `worker_alive` and `host_alive`, by the database's clock."""
    fresh = database_time(-STALE_SECONDS)
    return list(
        Engine.objects.select_related("loaded_model", "wanted_model").annotate(
            worker_alive=_flag(Q(worker_heartbeat__gt=fresh)),
            host_alive=_flag(Q(host_heartbeat__gt=fresh)),
        )
    )


def cards() -> list[EngineCard]:
    """All engines as their cards show them, and how estimates for their models held."""
    known = engines()
    prefetch_related_objects(known, "pinned_models")
    living = [engine for engine in known if _host_alive(engine)]
    models = {e.pk: e.served_names() for e in known}
    external = [e.pk for e in known if e.kind == Engine.Kind.EXTERNAL]
    if external:
        speeds = _speeds(external)
        for engine in known:
            if engine.pk in speeds:
                engine.gauges = engine.gauges | {"tokens_s": speeds[engine.pk]}
        serves = EngineModel.objects.filter(engine__in=external)
        for pk, name in serves.values_list("engine", "served_model__name"):
            models[pk].append(name)
    names = {name for some in models.values() for name in some}
    held = track_record.accuracy_of(names) if names else {}
    return [
        card(
            engine,
            living,
            records=[
                (name, held[name].words)
                for name in sorted(models[engine.pk])
                if name in held
            ],
        )
        for engine in known
    ]


def _speeds(chosen: Sequence[int]) -> dict[int, float]:
    """Output tokens a second of the last minute, by engines that tell no counters."""
    since = database_time(-SPEED_SECONDS)
    rows = ThroughputSample.objects.filter(
        engine__in=chosen, resolution=10, at__gt=since
    )
    sums = rows.values_list("engine").annotate(tokens=Sum("output_tokens"))
    return {pk: tokens / SPEED_SECONDS for pk, tokens in sums.order_by()}


def _flag(condition: Q) -> ExpressionWrapper[Q]:
    return ExpressionWrapper(condition, output_field=BooleanField())


def control_troubles() -> list[str]:
    """Of each control worker that gave a sign of life in the last 15 s, why it waits.

    "" for one that works.
    """
    fresh = database_time(-STALE_SECONDS)
    alive = WorkerProcess.objects.filter(heartbeat__gt=fresh)
    return list(alive.values_list("trouble", flat=True))


def runs(engine: Engine) -> bool:
    """Whether the engine's process or server can be counted on just now."""
    if engine.kind == Engine.Kind.EXTERNAL:
        return _worker_alive(engine)
    return _host_alive(engine)


def _worker_alive(engine: Engine) -> bool:
    return bool(getattr(engine, "worker_alive", False))


def _host_alive(engine: Engine) -> bool:
    return bool(getattr(engine, "host_alive", False))


def alarms() -> list[Alarm]:
    """What keeps every batch from moving; two queries."""
    if obstacles.database_is_full():
        # No process can give a sign of life then: every other alarm may be false.
        return [full_disk("the database", "Nothing can be stored.")]
    known = engines()
    found = []
    if obstacles.files_are_full():
        words = "Nothing can be uploaded, checked or written."
        found.append(full_disk("the data folder", words))
    if not known:
        found.append(
            Alarm(
                "No engine is running.",
                "Requests wait until there is one. Start vLLM on this host with",
                "manage.py runengine --name gpu0",
            )
        )
    elif not any(runs(engine) for engine in known):
        external = all(engine.kind == Engine.Kind.EXTERNAL for engine in known)
        name = known[0].name
        found.append(
            Alarm(
                "No engine is running.",
                f"Requests wait. Start {'the worker of ' if external else ''}{name} with",
                f"manage.py runworker --engine {name}"
                if external
                else f"manage.py runengine --name {name}",
            )
        )
    elif not any(_worker_alive(engine) for engine in known):
        found.append(
            Alarm(
                "No engine worker is running.",
                "Engines get no requests. Start one with",
                f"manage.py runworker --engine {known[0].name}",
            )
        )
    troubles = control_troubles()
    if not troubles:
        found.append(
            Alarm(
                "No control worker is running.",
                "New batches are not checked and no files are written. Start it with",
                "manage.py runworker",
            )
        )
    elif trouble := next(filter(None, troubles), ""):
        found.append(
            Alarm(
                "A disk is nearly full.",
                "New batches are not checked and no files are written until there is"
                f" room: {trouble}.",
            )
        )
    return found


def full_disk(what: str, words: str) -> Alarm:
    """The alarm about a disk that is full."""
    return Alarm(
        f"The disk of {what} is full.",
        f"{words} Make room there, and work goes on by itself. See what is used with",
        "df -h",
    )


def waiting_reason(batch: Batch, known: Iterable[Engine]) -> str:
    """Why a running batch gets no results, as far as the engines tell; else empty."""
    if obstacles.database_is_full():
        return "the disk of the database is full."
    known = list(known)
    alive = [engine for engine in known if runs(engine) and _worker_alive(engine)]
    if not alive:
        return "no engine with a worker is running."
    for engine in alive:
        wanted = engine.wanted_model
        if engine.state != Engine.State.READY and wanted and wanted.name == batch.model:
            return f"{engine.name} is loading {wanted.name}."
    serving = [engine for engine in alive if _may_serve(engine, batch.model)]
    for engine in serving:
        if engine.paused:
            return f"{engine.name} is {engine.hold}."
        if reasons := engine.gate_reasons:
            return f"{engine.name} takes no new requests: {printable(reasons[0])}."
        if engine.fault:
            return f"{engine.name}: {printable(engine.fault)}"
    if not serving:
        return f"no engine has {printable(batch.model)} loaded."
    return f"for a free place on {serving[0].name}." if not batch.result_seq else ""


def _may_serve(engine: Engine, model: str) -> bool:
    """Whether the engine may run the model; "" stands for several."""
    if engine.kind == Engine.Kind.EXTERNAL:
        return True
    served = engine.served_names()
    return bool(served) and (not model or model in served)


def card(
    engine: Engine,
    living: Iterable[Engine],
    *,
    records: Sequence[tuple[str, str]] = (),
) -> EngineCard:
    """The engine with its words and bars, among those whose hosts are alive.

    `records` say how estimates for its models held.
    """
    loading = _dictionary(engine.gauges.get("loading"))
    if engine.state != Engine.State.LOADING:
        loading = {}
    doing = [printable(engine.state_reason)] if engine.state_reason else []
    if isinstance(elapsed := loading.get("elapsed"), int | float):
        doing.append(f"loading for {duration(elapsed)}")
    gpus = [_gpu(entry) for entry in _list(engine.gauges.get("gpus"))]
    note = "" if gpus else printable(engine.gauges.get("gpu_note") or "no GPU")
    return EngineCard(
        engine,
        runs(engine),
        _worker_alive(engine),
        _host_alive(engine),
        _model(engine),
        " · ".join(doing),
        printable(loading.get("line") or ""),
        _gauges(engine),
        gpus,
        "" if engine.kind == Engine.Kind.EXTERNAL else note,
        asked(engine),
        # Only a worker that is alive opens them again.
        engine.gate_reasons if _worker_alive(engine) else [],
        [_past(closure) for closure in ended_gates(engine.gates)],
        [*_mends(engine), *_shares(engine, living)],
        _facts(engine),
        list(records),
    )


def _past(closure: Closure) -> Past:
    since, until = (
        datetime.fromtimestamp(at, tz=UTC) for at in (closure.since, closure.until)
    )
    return Past(since, until, closure.cause)


def _model(engine: Engine) -> str:
    loaded, wanted = engine.loaded_model, engine.wanted_model
    if loaded and wanted and loaded != wanted:
        return f"{loaded.name} → {wanted.name}"
    if one := loaded or wanted:
        return one.name
    if engine.kind == Engine.Kind.EXTERNAL:
        return "models of an external server"
    return "no model loaded"


def _mends(engine: Engine) -> list[tuple[str, str]]:
    """What is missing around the engine, each with the command that mends it."""
    missing = []
    if engine.kind == Engine.Kind.MANAGED and not _host_alive(engine):
        missing.append(
            (
                "Its host process is not running; start it with",
                f"manage.py runengine --name {engine.name}",
            )
        )
    if not _worker_alive(engine):
        missing.append(
            (
                "No worker is running for this engine; start it with",
                f"manage.py runworker --engine {engine.name}",
            )
        )
    return missing


def _shares(engine: Engine, living: Iterable[Engine]) -> list[tuple[str, str]]:
    """GPUs that others use too, with the command that gives it its own."""
    if not _host_alive(engine):
        return []
    command = f"manage.py runengine --name {engine.name} --gpus …"
    return [
        (f"{words}. Give each engine its own with", command)
        for words in sharing.warnings(engine.name, engine.gauges.get("gpus"), living)
    ]


def _facts(engine: Engine) -> list[tuple[str, str]]:
    """What it serves beside its model, and which models belong to it."""
    found = []
    if adapters := engine.served_names()[1:]:
        found.append(("adapters", ", ".join(map(printable, adapters))))
    pinned = [printable(model.name) for model in engine.pinned_models.all()]
    if engine.reserved:
        found.append(("reserved for", ", ".join(pinned) or "no model yet"))
    elif pinned:
        found.append(("pinned here", ", ".join(pinned)))
    return found


def _gauges(engine: Engine) -> list[Gauge]:
    read = engine.gauges
    found = [Gauge("in flight", thousands(engine.in_flight))]
    for key, label in (("running", "running"), ("waiting", "waiting")):
        if isinstance(read.get(key), int | float):
            found.append(Gauge(label, thousands(read[key])))
    for key, label in (("kv_cache", "KV cache"), ("prefix_hits", "prefix hits")):
        if isinstance(read.get(key), int | float):
            # Many prefix hits are good news, a full cache is not.
            found.append(_share(label, read[key], hot=key == "kv_cache"))
    if isinstance(read.get("tokens_s"), int | float):
        found.append(Gauge("output", f"{thousands(read['tokens_s'])} tok/s"))
    return found


def _gpu(entry: dict[str, Any]) -> Gpu:
    found = []
    if isinstance(entry.get("utilization"), int | float):
        found.append(_share("GPU", entry["utilization"] / 100, hot=False))
    used, total = entry.get("memory_used"), entry.get("memory_total")
    if isinstance(used, int | float) and isinstance(total, int | float) and total:
        share = used / total
        found.append(
            Gauge("memory", f"{size(int(used))} of {size(int(total))}", _width(share))
        )
    for key, label, unit in (
        ("temperature", "temperature", "°C"),
        ("power", "power", "W"),
    ):
        if isinstance(entry.get(key), int | float):
            found.append(Gauge(label, f"{entry[key]:.0f} {unit}"))
    return Gpu(printable(entry.get("name") or "GPU"), found)


def _share(label: str, part: float, *, hot: bool) -> Gauge:
    return Gauge(label, percent(part), _width(part), hot and part >= HOT)


def _width(part: float) -> str:
    return f"{min(max(part, 0), 1) * 100:.1f}"


def _list(value: Any) -> list[dict[str, Any]]:
    return (
        [entry for entry in value if isinstance(entry, dict)]
        if isinstance(value, list)
        else []
    )


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
