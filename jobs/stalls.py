# SPDX-License-Identifier: Apache-2.0
"""The chore that notes when a running batch stalls, and when it goes on.

A batch stalls when its requests have been in flight for longer than 60 s, and than five
times what 95 % of its answers take, without one answer. Time in which none of them was
in flight (others went first, a pause, no engine) does not count.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from django.db import transaction
from django.db.models import Max, Q, QuerySet, Sum
from django.utils import timezone

from . import lifecycle, speeds, standing
from .models import Batch, BatchEvent, Result, ThroughputSample

LEAST_SECONDS = 60.0
TIMES_P95 = 5.0
RECENT_RESULTS = 200
# Before a model has ever answered nobody knows how long it takes.
UNKNOWN_SECONDS = 300.0
# Samples come every 10 to 14 s while anything is in flight.
FRESH = timedelta(seconds=30)
# An hour of the finest and hours of the coarser ones, of several engines.
SAMPLES = 2000
STALLED = "stalled"
Blocked: TypeAlias = Callable[[Batch], str]


@dataclass(frozen=True, slots=True)
class Change:
    """A stall that begins, `silent` seconds ago, or ends (None), and why."""

    batch: Batch
    silent: float | None
    message: str


def wanted() -> bool:
    """Whether a stall begins or ends."""
    return bool(changes())


def run() -> str:
    """Write these down; says how many."""
    count = sum(note(change) for change in changes())
    return f"{count} stalls began or ended"


def changes() -> list[Change]:
    """What is not written down yet; two queries while nothing is odd."""
    # Looking at the queue costs most, and is needed for odd batches alone.
    look = functools.cache(lambda: standing.take_look().by_pk)

    def blocked(batch: Batch) -> str:
        place = look().get(batch.pk)
        return (place.blocked_reason or "") if place else ""

    stalled = _running().filter(stalled_since__isnull=False)
    found = [_begins(batch, blocked) for batch in _suspected()]
    found += [_ends(batch, blocked) for batch in stalled]
    return [change for change in found if change is not None]


def _running() -> QuerySet[Batch]:
    return Batch.objects.active().filter(status=Batch.Status.IN_PROGRESS)


def _suspected() -> list[Batch]:
    """Batches with requests in flight and no answer for a minute."""
    now = timezone.now()
    seen = (
        ThroughputSample.objects.filter(
            resolution=10, at__gt=now - timedelta(seconds=LEAST_SECONDS)
        )
        .order_by()
        .values("batch")
        .annotate(
            answers=Sum("rows"), newest=Max("at", filter=Q(request_seconds__gt=0))
        )
        .filter(answers=0, newest__gt=now - FRESH)
        .values_list("batch", flat=True)
    )
    keys = list(seen[:500])
    if not keys:
        return []
    return list(
        _running().filter(pk__in=keys, paused=False, stalled_since__isnull=True)
    )


def _begins(batch: Batch, blocked: Blocked) -> Change | None:
    seconds = silent_seconds(batch)
    if seconds <= limit_seconds(batch) or blocked(batch):
        return None
    return Change(
        batch,
        seconds,
        f"requests are in flight and none was answered for {_words(seconds)}",
    )


def _ends(batch: Batch, blocked: Blocked) -> Change | None:
    begun = batch.events.filter(kind=STALLED).order_by("-pk").first()
    answers = (begun.data or {}).get("result_seq", 0) if begun else 0
    if batch.result_seq > answers:
        return Change(batch, None, "there are answers again")
    if batch.paused:
        return Change(batch, None, "the batch is paused")
    if reason := blocked(batch):
        return Change(batch, None, reason)
    fresh = batch.throughput_samples.filter(
        resolution=10, at__gt=timezone.now() - FRESH, request_seconds__gt=0
    )
    if not fresh.exists():
        return Change(batch, None, "no request is in flight any more")
    return None


def silent_seconds(batch: Batch) -> float:
    """How long its requests have been in flight since the last answer.

    On the engine on which that is longest: several overlap in time.
    """
    samples = batch.throughput_samples.order_by("-at").values_list(
        "engine", "seconds", "rows", "request_seconds"
    )
    silent: dict[int, float] = {}
    for engine, seconds, rows, flying in samples[:SAMPLES]:
        if rows:
            break
        if flying:
            silent[engine] = silent.get(engine, 0.0) + seconds
    longest = max(silent.values(), default=0.0)
    # An answer may be stored whose sample is not.
    newest = Result.objects.filter(batch=batch, seq=batch.result_seq)
    moment = newest.values_list("created_at", flat=True).first()
    if moment is None:
        return longest
    return min(longest, (timezone.now() - moment).total_seconds())


def limit_seconds(batch: Batch) -> float:
    """Silence that is longer is a stall."""
    newest = Result.objects.filter(
        batch=batch, seq__gt=batch.result_seq - RECENT_RESULTS
    ).values_list("latency_ms", flat=True)
    if latencies := sorted(ms for ms in newest if ms is not None):
        p95 = latencies[int(0.95 * (len(latencies) - 1))] / 1000
    elif speed := speeds.speed_of(batch.model):
        p95 = speed.latency
    else:
        return UNKNOWN_SECONDS
    return max(LEAST_SECONDS, TIMES_P95 * p95)


def note(change: Change) -> bool:
    """Write the column and its event; False when things moved on, or another was faster."""
    batch = change.batch
    with transaction.atomic():
        rows = Batch.objects.filter(pk=batch.pk, stalled_since=batch.stalled_since)
        since: datetime | None = None
        if change.silent is not None:
            since = timezone.now() - timedelta(seconds=change.silent)
            rows = rows.filter(
                status=Batch.Status.IN_PROGRESS,
                paused=False,
                result_seq=batch.result_seq,
            )
        if not rows.update(stalled_since=since):
            return False
        BatchEvent.objects.create(
            batch=batch,
            kind=lifecycle.STALL_ENDED if since is None else STALLED,
            message=change.message,
            data=_data(batch, since),
        )
    return True


def _data(batch: Batch, since: datetime | None) -> dict[str, int]:
    if since is not None:
        return {"since": int(since.timestamp()), "result_seq": batch.result_seq}
    assert batch.stalled_since is not None  # else nothing had ended
    lasted = timezone.now() - batch.stalled_since
    return {"seconds": int(lasted.total_seconds())}


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
