# SPDX-License-Identifier: Apache-2.0
"""How far queues are: their items by what they wait for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.core.cache import cache
from django.db.models import Count

from .models import ReviewItem, ReviewQueue

COUNTED_FOR = 5
QUICK_SECONDS = 0.03
State = ReviewItem.State


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a queue is; `share` is of its items that are done, 0 to 1."""

    total: int
    waiting: int
    disputed: int
    done: int

    @property
    def share(self) -> float:
        """Of what is to be judged, how much is."""
        return self.done / self.total if self.total else 0.0

    @property
    def percent(self) -> str:
        """The share as the width of a bar, in hundredths."""
        return f"{self.share * 100:.2f}"


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was counted, and how long that took."""

    standing: Standing
    seconds: float


def of(queue: ReviewQueue) -> Standing:
    """The queue's items by what they wait for; up to five seconds old, or longer where
    counting takes long."""
    return of_each([queue])[queue.pk]


def of_each(queues: Sequence[ReviewQueue]) -> dict[int, Standing]:
    """The same of several queues, by their keys."""
    kept: dict[str, _Kept] = cache.get_many([_key(queue) for queue in queues])
    missing = [queue for queue in queues if _key(queue) not in kept]
    return _count(missing) | {
        queue.pk: kept[_key(queue)].standing for queue in queues if _key(queue) in kept
    }


def _count(queues: Sequence[ReviewQueue]) -> dict[int, Standing]:
    if not queues:
        return {}
    began = time.monotonic()
    found = of_all(queues)
    took = time.monotonic() - began
    items = sum(one.total for one in found.values())
    for queue in queues:
        one = found[queue.pk]
        seconds = took * one.total / items if items else 0.0
        # Counting takes no more than a twentieth of the time, however many look.
        lasts = max(COUNTED_FOR, 20 * seconds)
        cache.set(_key(queue), _Kept(one, seconds), lasts)
    return found


def _key(queue: ReviewQueue) -> str:
    return f"curation:standing:{queue.pk}"


def of_all(queues: Sequence[ReviewQueue]) -> dict[int, Standing]:
    """Of each queue, by its key; two queries. Gold items are left out."""
    rows = (
        ReviewItem.objects.filter(queue__in=queues)
        .order_by()
        .values_list("queue", "state")
        .annotate(Count("id"))
    )
    counts: dict[int, Counter[str]] = {queue.pk: Counter() for queue in queues}
    for queue, state, count in rows:
        counts[queue][state] += count
    # Of few rows and with an index of their own: gold items wait for nobody.
    for queue, state, count in rows.exclude(gold_text=""):
        counts[queue][state] -= count
    return {queue: _standing(found) for queue, found in counts.items()}


def _standing(counts: Mapping[str, int]) -> Standing:
    waiting = counts.get(State.PENDING, 0) + counts.get(State.IN_PROGRESS, 0)
    disputed, done = (
        counts.get(State.AWAITING_RESOLUTION, 0),
        counts.get(State.COMPLETED, 0),
    )
    return Standing(waiting + disputed + done, waiting, disputed, done)


def forget(queue: ReviewQueue) -> None:
    """Count anew when it is asked next, where that takes a moment only.

    Of a million items each judgement would have all others counted again.
    """
    kept: _Kept | None = cache.get(_key(queue))
    if kept is not None and kept.seconds < QUICK_SECONDS:
        cache.delete(_key(queue))
