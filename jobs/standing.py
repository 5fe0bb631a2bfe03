# SPDX-License-Identifier: Apache-2.0
"""Where a batch stands in the queue: its place, when it starts, what it waits for.

One look at the database serves all callers of a process for 2 s, so that polling
clients cost no queries. Estimates hold for the queue as it is now.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from . import claims
from .eta import LOOKS_BACK, Eta, Left, Sample, eta
from .models import Batch, Chunk, ThroughputSample
from .obstacles import Site, read_site
from .scheduling import Work, rank
from .speeds import Speed, speed_of

LOOK_SECONDS = 2.0
# A look may take up to so much of a process's time, however long the queue is.
LOOK_SHARE = 0.05
# Of longer queues the rest has no place yet.
QUEUE_MOST = 5000
# A batch with a sample that is not older runs just now.
RUNS_SECONDS = 30.0
# Of more samples the oldest are left out.
SAMPLES_MOST = 20_000
# From so many answers on a batch's own tell more than the model's history.
ENOUGH_ANSWERS = 20
WAITING = (Batch.Status.VALIDATING, Batch.Status.IN_PROGRESS)
Mark: TypeAlias = tuple[str, bool, int, datetime]


@dataclass(frozen=True, slots=True)
class Standing:
    """A batch's place among its team's unfinished ones, 1 for the next or running one.

    `expected_start` is in unix seconds; `blocked_reason` says in words why nothing of
    it can run now; `eta` is when a batch in progress will have its last answer. None:
    not known, or nothing to say.
    """

    position: int | None = None
    expected_start: int | None = None
    blocked_reason: str | None = None
    at_risk: bool = False
    eta: Eta | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An unfinished batch as the look saw it.

    `seconds` of work left, None: not known. `left`, `samples` and `stalled_since` tell
    when it will be done; `left` is None for a batch that does not run yet.
    """

    pk: int
    public_id: str
    mark: Mark
    work: Work
    models: tuple[str, ...]
    paused: bool
    validating: bool
    started: int | None
    seconds: float | None
    left: Left | None = None
    samples: Sequence[Sample] = ()
    stalled_since: float | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """How batches of some models can run now.

    `lanes`: engines that can run one of them, at least 1; `rivals`: the models that
    need one of these engines too; `reason`: why none of them can run, in words.
    """

    lanes: int
    rivals: frozenset[str]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Look:
    """Every unfinished batch's standing at one moment; `took` in seconds."""

    at: float
    took: float
    by_id: Mapping[str, tuple[Mark, Standing]]
    by_pk: Mapping[int, Standing]

    def knows(self, wanted: Mapping[str, Mark]) -> bool:
        """Whether the look saw these batches, as they are now."""
        return all(
            public_id in self.by_id and self.by_id[public_id][0] == mark
            for public_id, mark in wanted.items()
        )


_lock = threading.Lock()
_newest: Look | None = None


def of(batches: Iterable[Batch]) -> Mapping[str, Standing]:
    """The standing of those batches that wait or run, by public id."""
    wanted = {b.public_id: mark_of(b) for b in batches if b.status in WAITING}
    if not wanted:
        return {}
    look = _look(wanted)
    return {
        public_id: look.by_id[public_id][1]
        if look.knows({public_id: mark})
        else Standing()
        for public_id, mark in wanted.items()
    }


def mark_of(batch: Any) -> Mark:
    """What a person changes about a batch, or its tuple; a look from before it changed is no good."""
    return (batch.status, batch.paused, batch.priority, batch.expires_at)


def _look(wanted: Mapping[str, Mark]) -> Look:
    """The newest look, or a fresh one when it is old or lacks a batch.

    While one thread looks, others take what was there before.
    """
    global _newest
    if (seen := _newest) is not None and _is_good(seen, wanted):
        return seen
    if not _lock.acquire(blocking=seen is None or not seen.knows(wanted)):
        assert seen is not None  # else the line above had waited
        return seen
    try:
        seen = _newest
        if seen is None or not _is_good(seen, wanted):
            seen = _newest = take_look()
        return seen
    finally:
        _lock.release()


def _is_good(look: Look, wanted: Mapping[str, Mark]) -> bool:
    age = time.monotonic() - look.at
    rest = look.took / LOOK_SHARE
    if look.knows(wanted):
        return age < max(rest, LOOK_SECONDS)
    # A batch that is new or changed is looked for at once, unless looking takes long.
    return rest > LOOK_SECONDS and age < rest


def take_look() -> Look:
    """Read the queue and the engines, and work out every batch's standing."""
    started = time.monotonic()
    now = time.time()
    site = read_site()
    entries = read_queue()
    ordered = rank((e.work for e in entries), load=_load(entries), now=now)
    by_pk = {e.pk: e for e in entries}
    found = standings([by_pk[w.batch] for w in ordered], site, now=now)
    by_id = {e.public_id: (e.mark, found[e.pk]) for e in entries}
    return Look(started, time.monotonic() - started, by_id, found)


def _load(entries: Sequence[Entry]) -> Mapping[int, float]:
    # With one team there is nothing to share.
    several = len({e.work.team for e in entries}) > 1
    return claims.team_load() if several else {}


def standings(queue: Sequence[Entry], site: Site, *, now: float) -> dict[int, Standing]:
    """The standing of each batch of a queue that is in the order of running.

    A batch starts when the work before it that needs the same engines is done; these
    share it evenly. Paused and blocked batches hold nobody up.
    """
    places: Counter[int] = Counter()
    # Seconds of work by model; None once a part of it is not known.
    before: defaultdict[str, float | None] = defaultdict(float)
    routes = _routes({entry.models for entry in queue}, site)
    found = {}
    for entry in queue:
        route = routes[entry.models]
        reason = why_blocked(entry, site, route)
        if not entry.paused:
            places[entry.work.team] += 1
        runs = reason is None and not entry.validating
        wait = _wait(route, before) if runs else None
        end = _eta(entry, reason, now)
        found[entry.pk] = Standing(
            position=None if entry.paused else places[entry.work.team],
            expected_start=_start(entry, wait, now),
            blocked_reason=reason,
            at_risk=_is_late(entry, end, wait or 0.0, route, now),
            eta=end,
        )
        if runs:
            _put_before(entry, before)
    return found


def _eta(entry: Entry, reason: str | None, now: float) -> Eta | None:
    """When it will be done, or why nobody can say; None before it runs."""
    if entry.left is None:
        return None
    if reason is not None:
        return Eta(reason=reason)
    if entry.stalled_since is not None:
        minutes = max(int((now - entry.stalled_since) / 60), 1)
        return Eta(reason=f"stalled for {minutes} min")
    return eta(entry.left, entry.samples, now)


def _is_late(
    entry: Entry, end: Eta | None, wait: float, route: Route, now: float
) -> bool:
    """Whether the estimated end lies behind the deadline.

    By the batch's own speed while it runs: behind other work that falls, and would
    tell only of the others.
    """
    runs = entry.samples and now - entry.samples[0].at < RUNS_SECONDS
    if runs and end is not None and end.middle is not None:
        return now + end.middle > entry.work.expires
    if entry.seconds is None:
        return False
    return now + wait + entry.seconds / route.lanes > entry.work.expires


def _put_before(entry: Entry, before: dict[str, float | None]) -> None:
    """Add the batch's work to what those after it wait for."""
    for model in entry.models:
        known = before[model]
        if known is not None and entry.seconds is not None:
            before[model] = known + entry.seconds / len(entry.models)
        else:
            before[model] = None


def _start(entry: Entry, wait: float | None, now: float) -> int | None:
    if entry.started is not None:
        return entry.started
    return None if wait is None else int(now + wait)


def _routes(
    wanted: Iterable[tuple[str, ...]], site: Site
) -> Mapping[tuple[str, ...], Route]:
    """How batches of these models can run."""
    wanted = list(wanted)
    models = {model for some in wanted for model in some}
    served = {model: {e.pk for e in site.ready(model)} for model in models}
    reasons = {model: site.why_waiting(model) for model in models}
    routes = {}
    for some in wanted:
        engines = {pk for model in some for pk in served[model]}
        why = [reasons[model] for model in some]
        routes[some] = Route(
            max(1, len(engines)),
            frozenset(other for other in models if served[other] & engines),
            # A batch of several models goes on as long as one of them does.
            why[0] if why and all(why) else None,
        )
    return routes


def _wait(route: Route, before: Mapping[str, float | None]) -> float | None:
    """Seconds until an engine is free for the batch; None when that is not known."""
    total = 0.0
    for model in route.rivals:
        seconds = before[model]
        if seconds is None:
            return None
        total += seconds
    return total / route.lanes


def why_blocked(entry: Entry, site: Site, route: Route) -> str | None:
    """Why nothing of the batch can run now, in words; None when it can, or soon will."""
    if entry.paused:
        return "the batch is paused"
    if site.database_full:
        # Nobody can give a sign of life then, so that every other reason is wrong.
        return "the disk of the database is full"
    if entry.validating:
        if site.files_full:
            return "the disk of the data folder is full"
        if not site.control_worker:
            return "no control worker is running"
        return f"intake waits: {site.control_trouble}" if site.control_trouble else None
    return route.reason


def read_queue() -> list[Entry]:
    """Up to 5,000 batches that wait or run."""
    batches = _waiting()
    mixed = [b.pk for b in batches if b.allow_mixed_models and not b.model]
    several = _open_models(mixed) if mixed else {}
    speeds: dict[str, Speed | None] = {}
    now = time.time()
    samples = _recent_samples(now) if batches else {}
    entries = []
    for batch in batches:
        models = (batch.model,) if batch.model else tuple(several.get(batch.pk, ()))
        for model in models:
            if model not in speeds:
                speeds[model] = speed_of(model)
        entries.append(
            Entry(
                pk=batch.pk,
                public_id=batch.public_id,
                mark=mark_of(batch),
                work=Work(
                    batch.pk,
                    batch.team_id,
                    batch.team__weight,
                    batch.priority,
                    "",
                    batch.created_at.timestamp(),
                    batch.expires_at.timestamp(),
                ),
                models=models,
                paused=batch.paused,
                validating=batch.status == Batch.Status.VALIDATING,
                started=_started(batch),
                seconds=_seconds_left(batch, [speeds[model] for model in models]),
                left=_left(batch, now),
                samples=samples.get(batch.pk, ()),
                stalled_since=batch.stalled_since and batch.stalled_since.timestamp(),
            )
        )
    return entries


def _waiting() -> list[Any]:
    """The unfinished batches with what a standing needs of them.

    Named tuples: model instances would take most of the time of a look.
    """
    batches = Batch.objects.active().filter(status__in=WAITING)
    rows = batches.order_by("-priority", "id").values_list(
        *("pk", "public_id", "team_id", "team__weight", "priority", "created_at"),
        *("expires_at", "paused", "status", "model", "allow_mixed_models"),
        *("in_progress_at", "total", "completed", "failed", "output_tokens"),
        *("input_tokens", "stalled_since", "estimate__rows"),
        *("estimate__input_tokens", "estimate__output_tokens"),
        named=True,
    )
    return list(rows[:QUEUE_MOST])


def _open_models(batches: Sequence[int]) -> dict[int, list[str]]:
    """The models of the chunks that are not done, by batch."""
    found: dict[int, list[str]] = {}
    chunks = Chunk.objects.open().filter(batch__in=batches)
    pairs = chunks.order_by("batch", "model").values_list("batch", "model").distinct()
    for batch, model in pairs:
        found.setdefault(batch, []).append(model)
    return found


def _started(batch: Any) -> int | None:
    """When the batch began to run, once it has an answer."""
    if batch.completed + batch.failed and batch.in_progress_at:
        return int(batch.in_progress_at.timestamp())
    return None


def _recent_samples(now: float) -> Mapping[int, list[Sample]]:
    """What came in the last quarter of an hour, by batch, newest first."""
    since = datetime.fromtimestamp(now - LOOKS_BACK, tz=UTC)
    rows = (
        ThroughputSample.objects.filter(resolution=10, at__gt=since)
        .order_by("-at")
        .values_list(
            *("batch_id", "at", "seconds", "rows", "output_tokens", "request_seconds")
        )
    )
    found: defaultdict[int, list[Sample]] = defaultdict(list)
    for batch, at, *figures in rows[:SAMPLES_MOST]:
        found[batch].append(Sample(at.timestamp(), *figures))
    return found


def _left(batch: Any, now: float) -> Left | None:
    """What is left of a batch in progress; copies of other requests are not counted."""
    if batch.status != Batch.Status.IN_PROGRESS:
        return None
    answered = batch.completed + batch.failed
    running = batch.estimate__rows or 0
    share = running / batch.total if running and batch.total else 1.0
    expected = batch.estimate__output_tokens
    left = batch.total - answered
    return Left(
        # The last answers may be those that are not copies.
        rows=max(round(left * share), min(left, 1)),
        answered=round(answered * share),
        tokens=batch.output_tokens,
        age=now - (batch.in_progress_at or batch.created_at).timestamp(),
        usual=expected / running if running and expected is not None else None,
    )


def _seconds_left(batch: Any, speeds: Sequence[Speed | None]) -> float | None:
    """Seconds of work left on one engine; of several models their mean counts."""
    known = [speed for speed in speeds if speed is not None]
    if not known or len(known) < len(speeds) or not batch.total:
        return None
    answered = batch.completed + batch.failed
    rows = (batch.total - answered) / len(known)
    made = given = 0.0
    if answered >= ENOUGH_ANSWERS:
        made, given = batch.output_tokens / answered, batch.input_tokens / answered
    elif batch.estimate__rows:
        made = (batch.estimate__output_tokens or 0) / batch.total
        given = batch.estimate__input_tokens / batch.total
    return sum(
        s.seconds(rows, rows * given, rows * (made or s.tokens_a_row)) for s in known
    )
