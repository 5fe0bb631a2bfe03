# SPDX-License-Identifier: Apache-2.0
"""How far queues are: their items by what they wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.core.cache import cache
from django.db.models import Count

from .models import ReviewItem, ReviewQueue

COUNTED_FOR = 5
# Counted once in a while only, up to so many seconds later.
LARGE, LONGEST = 50_000, 30
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


def of(queue: ReviewQueue) -> Standing:
    """The queue's items by what they wait for; up to five seconds old, up to
    thirty where there are hundreds of thousands."""
    return of_each([queue])[queue.pk]


def of_each(queues: Sequence[ReviewQueue]) -> dict[int, Standing]:
    """The same of several queues, by their keys."""
    kept: dict[str, Standing] = cache.get_many([_key(queue) for queue in queues])
    missing = [queue for queue in queues if _key(queue) not in kept]
    return _count(missing) | {
        queue.pk: kept[_key(queue)] for queue in queues if _key(queue) in kept
    }


def _count(queues: Sequence[ReviewQueue]) -> dict[int, Standing]:
    if not queues:
        return {}
    found = of_all(queues)
    for queue in queues:
        one = found[queue.pk]
        # A million items take a third of a second to count, and change little meanwhile.
        lasts = COUNTED_FOR * (1 + one.total // LARGE)
        cache.set(_key(queue), one, min(lasts, LONGEST))
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
    """Count anew when it is asked next, where the queue is not large.

    Of a million items each judgement would have all others counted again.
    """
    kept: Standing | None = cache.get(_key(queue))
    if kept is not None and kept.total < LARGE:
        cache.delete(_key(queue))
