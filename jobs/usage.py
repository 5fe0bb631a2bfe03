# SPDX-License-Identifier: Apache-2.0
"""What people's batches used, hour by hour: the only code that moves Usage.

Requests and tokens are exact. A chore adds what a batch's counters grew by since it
looked last, in the transaction that moves the batch's UsageMark by a conditional UPDATE:
a killed process has done both or neither, and of two workers one finds the mark moved.
The hour is that of the look, at most half a minute late; after a longer silence, and of
batches from before this table, what was found is spread by the batch's samples, and of
an ended batch without any evenly over the time that it ran.

Engine time comes with the samples of sampling.py, in the transaction that writes them.
It is the batch's share of the engine by requests in flight, as measured; what a killed
worker had not written yet, at most 10 s of it, is in neither.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from .failures import hour_of
from .models import Batch, ThroughputSample, Usage, UsageMark

LOOK_SECONDS = 30
TURN_SECONDS = 30
SLICE = 200
# What came within so little time is not spread.
SHORT = timedelta(minutes=5)
HOUR = timedelta(hours=1)
COUNTERS = ("answered", "failed", "input_tokens", "cached_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Whose:
    """Who used what: the keys of the team and the person, the model's name."""

    team: int
    user: int | None
    model: str

    @property
    def order(self) -> tuple[int, int, str]:
        """In which all that write to several rows take their locks."""
        return self.team, self.user or 0, self.model


def wanted() -> bool:
    """Whether a batch has counted more than is in Usage, or has ended since."""
    return _due().exists()


def run(*, seconds: float = TURN_SECONDS) -> str:
    """Count what is due; stops after `seconds`."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        found = list(_due().values_list("pk", flat=True)[:SLICE])
        moved = sum(count_up(key) for key in found)
        count += moved
        if not moved or len(found) < SLICE:
            break
    return f"the usage of {count} batches counted"


def _due() -> QuerySet[Batch]:
    counted = Coalesce("usage_mark__result_seq", 0)
    return (
        Batch.objects.filter(usage_open=True)
        .filter(Q(status__in=Batch.TERMINAL) | Q(result_seq__gt=counted))
        .order_by("pk")
    )


def count_up(batch_pk: int) -> bool:
    """Add what the batch's counters grew by; False when another worker was faster."""
    with transaction.atomic():
        mark, _ = UsageMark.objects.get_or_create(batch_id=batch_pk)
        # Read after the mark, and so never behind it.
        batch = Batch.objects.get(pk=batch_pk)
        now = timezone.now()
        counters = _counters(batch)
        won = UsageMark.objects.filter(pk=mark.pk, result_seq=mark.result_seq).update(
            result_seq=batch.result_seq, counted_at=now, **counters
        )
        if not won:
            return False
        grown = {name: counters[name] - getattr(mark, name) for name in COUNTERS}
        whose = Whose(batch.team_id, batch.owner_id, batch.model)
        if any(grown.values()):
            for hour, part in _spread(grown, _hours(batch, mark, now)):
                _add(whose, hour, part)
        if batch.is_terminal:
            # The counters of a batch that has ended stand still.
            Batch.objects.filter(pk=batch.pk).update(usage_open=False)
    return True


def add_engine_seconds(used: Mapping[Whose, float]) -> None:
    """Add engine time of this hour, within the transaction that writes the samples."""
    hour = hour_of(timezone.now())
    for whose in sorted(used, key=lambda one: one.order):
        if used[whose] > 0:
            _add(whose, hour, {"engine_seconds": used[whose]})


def _counters(batch: Batch) -> dict[str, int]:
    return {
        "answered": batch.completed,
        **{name: getattr(batch, name) for name in COUNTERS[1:]},
    }


def _add(whose: Whose, hour: datetime, figures: Mapping[str, float]) -> None:
    """Let the hour's row grow, or begin it."""
    row = {
        "team_id": whose.team,
        "user_id": whose.user,
        "model": whose.model,
        "hour": hour,
    }
    known = Usage.objects.filter(**row).order_by("pk").values_list("pk", flat=True)
    key = known.first()
    more = {name: F(name) + value for name, value in figures.items()}
    if key is None or not Usage.objects.filter(pk=key).update(**more):
        Usage.objects.create(**row, **figures)


def _hours(
    batch: Batch, mark: UsageMark, now: datetime
) -> Sequence[tuple[datetime, float]]:
    """The hours that what was found belongs to, with their weights."""
    until = min(batch.closed_at or now, now)
    since = mark.counted_at or batch.in_progress_at or batch.created_at
    if until - since <= SHORT or hour_of(since) == hour_of(until):
        return [(hour_of(until), 1.0)]
    weights: Counter[datetime] = Counter()
    samples = ThroughputSample.objects.filter(batch=batch, at__gt=since, rows__gt=0)
    for at, rows in samples.values_list("at", "rows"):
        weights[hour_of(min(at.astimezone(UTC), until))] += rows
    if weights:
        return sorted(weights.items())
    if mark.counted_at or not batch.is_terminal:
        # It waited or was paused: what there is came just now.
        return [(hour_of(until), 1.0)]
    return _evenly(since, until)


def _evenly(since: datetime, until: datetime) -> list[tuple[datetime, float]]:
    found, hour = [], hour_of(since)
    while hour < until:
        part = min(hour + HOUR, until) - max(hour, since)
        found.append((hour, part.total_seconds()))
        hour += HOUR
    return found


def _spread(
    grown: Mapping[str, int], hours: Sequence[tuple[datetime, float]]
) -> list[tuple[datetime, dict[str, float]]]:
    """Whole numbers that add up to what was found, hours without any left out."""
    total = sum(weight for _, weight in hours)
    passed, given = 0.0, dict.fromkeys(grown, 0)
    parts: list[tuple[datetime, dict[str, float]]] = []
    for place, (hour, weight) in enumerate(hours, start=1):
        passed += weight
        reached = 1.0 if place == len(hours) else passed / total
        part: dict[str, float] = {}
        for name, amount in grown.items():
            here = amount if place == len(hours) else int(amount * reached)
            part[name] = here - given[name]
            given[name] = here
        if any(part.values()):
            parts.append((hour, part))
    return parts
