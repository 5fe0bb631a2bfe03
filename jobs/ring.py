# SPDX-License-Identifier: Apache-2.0
"""The chore that rolls samples up: 10 s for an hour, 1 min for a day, 10 min for 30 days."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from .models import ThroughputSample

SLICE = 1000
TURN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Step:
    """Samples of `resolution` seconds that are older than `kept` become `coarser` ones.

    None: they are deleted.
    """

    resolution: int
    kept: timedelta
    coarser: int | None


SUMMED = (
    *("seconds", "rows", "input_tokens", "output_tokens"),
    *("engine_seconds", "request_seconds"),
)
STEPS = (
    Step(10, timedelta(hours=1), 60),
    Step(60, timedelta(hours=24), 600),
    Step(600, timedelta(days=30), None),
)


def wanted() -> bool:
    """Whether samples are old enough to be rolled up."""
    return any(_old(step).exists() for step in STEPS)


def run(*, seconds: float = TURN_SECONDS) -> str:
    """Roll up slice after slice; stops after `seconds`."""
    end, count = time.monotonic() + seconds, 0
    for step in STEPS:
        while time.monotonic() < end and (found := list(_old(step)[:SLICE])):
            if not _roll_up(step, found):
                # Another worker is at it.
                break
            count += len(found)
    return f"{count} samples rolled up"


def _old(step: Step) -> QuerySet[ThroughputSample]:
    before = _begin(timezone.now() - step.kept, step.coarser or step.resolution)
    return ThroughputSample.objects.filter(
        resolution=step.resolution, at__lt=before
    ).order_by("at")


def _begin(moment: datetime, seconds: int) -> datetime:
    """The begin of the stretch of so many seconds in which the moment lies."""
    whole = int(moment.timestamp()) // seconds * seconds
    return datetime.fromtimestamp(whole, tz=UTC)


def _roll_up(step: Step, found: list[ThroughputSample]) -> bool:
    """Put coarser samples in the place of these; False when they are gone already.

    A stretch that is cut by the end of a slice becomes two samples.
    """
    coarse = _added_up(found, step.coarser) if step.coarser else []
    with transaction.atomic():
        keys = [one.pk for one in found]
        gone, _ = ThroughputSample.objects.filter(pk__in=keys).delete()
        if gone < len(keys):
            transaction.set_rollback(True)
            return False
        ThroughputSample.objects.bulk_create(coarse)
    return True


def _added_up(
    found: Iterable[ThroughputSample], seconds: int
) -> list[ThroughputSample]:
    """One sample for each batch, engine and stretch; ends with the last one in it."""
    coarse: dict[tuple[int, int, datetime], ThroughputSample] = {}
    for one in found:
        key = (one.batch_id, one.engine_id, _begin(one.at, seconds))
        if key not in coarse:
            coarse[key] = ThroughputSample(
                batch_id=one.batch_id,
                engine_id=one.engine_id,
                at=one.at,
                resolution=seconds,
                **{name: getattr(one, name) for name in SUMMED},
            )
            continue
        total = coarse[key]
        total.at = one.at
        for name in SUMMED:
            setattr(total, name, getattr(total, name) + getattr(one, name))
    return list(coarse.values())
