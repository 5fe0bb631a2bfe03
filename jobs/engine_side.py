# SPDX-License-Identifier: Apache-2.0
"""What a feeder reads from and writes to its engine's row."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.conf import settings

from . import claims, lifecycle, scheduling
from .engines import vllm
from .engines.timeline import died_unasked
from .flight import Halt, Snapshot, Target
from .jsonl import quoted
from .models import Engine, ServedModel
from .models.engines import database_time
from .scheduling import Work, as_loaded, rank
from .turns import Patience, Turns


class TokenLost(Exception):
    """Another worker serves this engine now."""


def target_of(engine: Engine) -> Target | None:
    """The engine as something to submit to; None while it cannot take requests."""
    if engine.kind == Engine.Kind.EXTERNAL:
        return _external(engine)
    model = engine.loaded_model
    if engine.state != Engine.State.READY or model is None:
        return None
    # Some more than the engine runs at once, so that a freed place is filled at once.
    gpu = bool(engine.gauges.get("gpus"))
    seqs = vllm.max_num_seqs(model.engine_args, gpu=gpu)
    # Asked twice a second: most engines have no adapters.
    adapters = (
        model.adapters.filter(request_timeout__gt=0) if engine.loaded_adapters else ()
    )
    return Target(
        engine=engine.pk,
        generation=engine.generation,
        window=seqs + max(1, seqs // 4),
        managed=True,
        address=engine.socket_path,
        provenance={
            "engine": engine.name,
            "generation": engine.generation,
            "engine_version": engine.version,
            "model_source": model.source,
            "model_revision": model.revision,
        },
        adapters=dict(engine.loaded_adapters),
        timeouts=_timeouts([model, *adapters]),
    )


def _external(engine: Engine) -> Target:
    serves = list(engine.serves.select_related("served_model"))
    return Target(
        engine=engine.pk,
        generation=engine.generation,
        window=max((s.window for s in serves), default=1),
        managed=False,
        address=f"{engine.base_url} {engine.api_key_env}",
        provenance={"engine": engine.name, "engine_version": engine.version},
        names={s.served_model.name: s.remote_name for s in serves},
        timeouts=_timeouts(s.served_model for s in serves),
    )


def external_models(engine: Engine) -> list[str]:
    """Public names of the models that batches may name and the external engine serves."""
    enabled = engine.serves.filter(served_model__state=ServedModel.State.ENABLED)
    return list(enabled.values_list("served_model__name", flat=True))


def _timeouts(models: Iterable[ServedModel]) -> dict[str, float]:
    """Seconds for one try, of the models that have a limit of their own."""
    return {m.name: float(m.request_timeout) for m in models if m.request_timeout}


def has_work(engine: Engine) -> bool:
    """Whether the engine needs a feeder.

    Any chunk could be claimed for it, by a swap if need be; or a gate is closed, which
    only a feeder opens.
    """
    if engine.gate_reasons:
        return True
    return not engine.paused and bool(survey(engine).waiting)


@dataclass(frozen=True, slots=True)
class Survey:
    """What waits for this engine, read once: chunks to claim by batch, models, shares.

    `served` are the models that it can run as it is now, by name; `elsewhere` are
    models that other engines hold.
    """

    waiting: list[Work]
    served: frozenset[str]
    loadable: dict[str, ServedModel]
    load: dict[int, float]
    elsewhere: frozenset[str] = frozenset()


def survey(engine: Engine, *, skipped: Collection[tuple[int, str]] = ()) -> Survey:
    """Look at the queue: what the engine can run, now or after loading another model.

    `skipped` pairs of batch and model are left out.
    """
    if engine.kind == Engine.Kind.EXTERNAL:
        loadable: dict[str, ServedModel] = {}
        served = frozenset(external_models(engine))
    else:
        loadable, served = placed(engine)
    work = claims.claimable_work([*{*loadable, *served}])
    waiting = [w for w in work if (w.batch, w.model) not in skipped]
    # With one team there is nothing to share.
    several = len({w.team for w in waiting}) > 1
    load = claims.team_load() if several else {}
    # An engine that swaps no model, or has no choice, need not know about the others.
    choice = loadable and {w.model for w in waiting} - served
    elsewhere = held_elsewhere(engine) if choice else frozenset()
    return Survey(waiting, served, loadable, load, elsewhere)


def placed(engine: Engine) -> tuple[dict[str, ServedModel], frozenset[str]]:
    """What a managed engine may load, by name, and the names of what it serves now.

    What was pinned elsewhere after it was loaded is neither, nor is an adapter that was
    given another source.
    """
    here = list(ServedModel.objects.placed_on(engine).select_related("base"))
    sources = engine.loaded_adapters
    loaded = engine.loaded_model_id
    served = frozenset(
        m.name
        for m in here
        if loaded is not None
        and (
            m.pk == loaded or (m.base_id == loaded and sources.get(m.name) == m.source)
        )
    )
    return {m.name: m for m in here if m.is_loadable}, served


def held_elsewhere(engine: Engine) -> frozenset[str]:
    """Models that other engines at work hold, or are about to."""
    others = Engine.objects.with_live_worker().exclude(pk=engine.pk)
    others = others.filter(paused=False, fault="")
    managed = others.filter(kind=Engine.Kind.MANAGED).exclude(state=Engine.State.FAILED)
    rows = managed.values_list(
        "wanted_model__name", "loaded_model__name", "loaded_adapters"
    )
    names: set[str | None] = set()
    for wanted, loaded, adapters in rows:
        stays = wanted is None or wanted == loaded or wanted in adapters
        names |= {loaded, *adapters} if stays else {wanted}
    served = ServedModel.objects.enabled().filter(
        served_by__engine__in=others.filter(kind=Engine.Kind.EXTERNAL).values("pk")
    )
    names |= set(served.values_list("name", flat=True))
    return frozenset(name for name in names if name is not None)


def next_claim(seen: Survey, snapshot: Snapshot) -> Work | None:
    """What to claim a chunk of for what is loaded; None: enough is here.

    Shares are those of this engine's own places, as in the window: what a team has on
    other engines, for other models perhaps, does not bar it from this one.
    """
    return scheduling.next_claim(
        [w for w in seen.waiting if w.model in seen.served],
        queued=snapshot.queued,
        queued_bytes=snapshot.queued_bytes,
        window=snapshot.window,
        load=snapshot.load,
        now=time.time(),
        spent=snapshot.spent,
    )


def is_swapping(engine: Engine, seen: Survey) -> bool:
    """Whether another model is on its way; one that cannot be loaded any more is not."""
    wanted = engine.wanted_model
    return bool(
        wanted and wanted.name not in seen.served and wanted.name in seen.loadable
    )


def model_to_load(
    engine: Engine, seen: Survey, held: Sequence[Work], turns: Turns
) -> ServedModel | None:
    """The model that the queue wants instead of the loaded one; None: stay."""
    work = {w for w in (*seen.waiting, *held) if w.model in seen.loadable}
    loaded = engine.loaded_model.name if engine.loaded_model else None
    if loaded is not None:
        work = as_loaded(work, served=seen.served, loaded=loaded)
    name = turns.choose(
        rank(work, load=seen.load, now=time.time()),
        loaded=loaded,
        loaded_since=engine.state_since.timestamp(),
        now=time.time(),
        patience=Patience.of(
            stay=settings.BATCHSITE_MODEL_STAY,
            wait=settings.BATCHSITE_MODEL_WAIT,
            load_seconds=engine.load_seconds,
        ),
        elsewhere=seen.elsewhere,
    )
    return None if name is None or name == loaded else seen.loadable[name]


def want(engine: Engine, model: ServedModel, *, in_flight: int = 0) -> bool:
    """Ask the host for the model; False when the engine has moved on meanwhile.

    To be called when nothing more is submitted: the host stops the engine when nothing
    is in flight, and `in_flight` can only become less.
    """
    return bool(
        Engine.objects.filter(pk=engine.pk, generation=engine.generation).update(
            wanted_model=model, in_flight=in_flight
        )
    )


def report(engine: Engine, *, worker: str, in_flight: int) -> None:
    """Write in_flight and a sign of life; TokenLost when another worker has the engine."""
    mine = Engine.objects.filter(pk=engine.pk, worker_token=worker)
    if not mine.update(in_flight=in_flight, worker_heartbeat=database_time()):
        raise TokenLost(engine.name)


def may_be_alive(engine: Engine, target: Target, halt: Halt) -> bool:
    """Whether a broken connection may be all that happened: the host knows no end."""
    return (
        halt.died
        and target.managed
        and engine.state in (Engine.State.READY, Engine.State.DRAINING)
        and engine.generation == target.generation
    )


def blame(engine: Engine, target: Target, halt: Halt, *, asked: bool = False) -> None:
    """Write down why nothing runs: suspects after a death, the fault in words else.

    Only a death that the host has on its timeline leaves suspects: not a stop that was
    asked for (by the feeder: `asked`), however fast the next start came, and not the
    host's own death.
    """
    if halt.died and target.managed:
        if halt.lost and not asked and died_unasked(engine.pk, target.generation):
            claims.suspect(engine, halt.lost)
        return
    Engine.objects.filter(pk=engine.pk).update(fault=quoted(halt.reason, 1000))


def note_refusal(engine_name: str, batch: int, reason: str) -> None:
    """Tell the batch's history that an engine has no place for its requests."""
    message = quoted(f"engine {engine_name} cannot run it: {reason}", 1000)
    lifecycle.note(batch, "refused", message)


def clear_fault(engine: Engine) -> None:
    """The engine answers again."""
    Engine.objects.filter(pk=engine.pk).update(fault="")
