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
    """The queue's items by what they wait for; up to five seconds old."""
    key = f"curation:standing:{queue.pk}"
    found: Standing | None = cache.get(key)
    if found is None:
        found = of_all([queue])[queue.pk]
        cache.set(key, found, COUNTED_FOR)
    return found


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
    """Count anew when it is asked next."""
    cache.delete(f"curation:standing:{queue.pk}")
