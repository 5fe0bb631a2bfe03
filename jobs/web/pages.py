# SPDX-License-Identifier: Apache-2.0
"""Pages by keyset: the next page starts after a row, not after a count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from batchsite.accounts.models import User
from jobs import standing
from jobs.models import Batch
from jobs.templatetags.figures import stalled_for

from .batch_filters import BatchFilterForm
from .progress import spoken_range

BATCHES = 50


@dataclass(frozen=True)
class BatchPage:
    """One page of batches, newest first, and the addresses of its neighbours."""

    batches: list[Batch]
    newer: str
    older: str
    ends: Mapping[str, str]

    @property
    def rows(self) -> list[tuple[Batch, str]]:
        """Each batch with when it will be done, in words, "" where nobody knows."""
        return [(b, self.ends.get(b.public_id, "")) for b in self.batches]

    @property
    def shown(self) -> list[tuple[Any, ...]]:
        """What the rows display of the batches: a change here is a change there."""
        return [
            (
                *(b.pk, b.status, b.name, b.tags, b.model, b.paused),
                *(b.total, b.completed, b.failed, b.priority, stalled_for(b)),
                self.ends.get(b.public_id),
            )
            for b in self.batches
        ]


def _query(query: QueryDict, **changes: str) -> str:
    kept = query.copy()
    for name in ("before", "after"):
        kept.pop(name, None)
    kept.update(changes)
    return f"?{kept.urlencode()}"


def batches(user: User, query: QueryDict, form: BatchFilterForm) -> BatchPage:
    """The page of the user's batches that the filter, `before` and `after` name.

    An unknown status is as good as none; after an unknown batch comes nothing.
    """
    mine = Batch.objects.visible_to(user)
    before, after = query.get("before", ""), query.get("after", "")
    # Of the user's batches alone, but in any status: it may have moved meanwhile.
    named = mine.filter(public_id=after or before).values("pk")
    found = form.narrow(mine)
    backwards = bool(after)
    if after:
        found = found.filter(pk__gt=named[:1]).order_by("id")
    elif before:
        found = found.filter(pk__lt=named[:1])
    rows = list(found.for_list()[: BATCHES + 1])
    more = len(rows) > BATCHES
    rows = rows[:BATCHES]
    if backwards:
        rows.reverse()
    has_newer = more if backwards else bool(before)
    has_older = backwards or more
    return BatchPage(
        rows,
        _query(query, after=rows[0].public_id) if rows and has_newer else "",
        _query(query, before=rows[-1].public_id) if rows and has_older else "",
        ends(rows),
    )


def ends(batches: Sequence[Batch]) -> dict[str, str]:
    """When those of the batches will be done that run, as `18 to 22 min` with a dash."""
    known = standing.of(b for b in batches if b.status == Batch.Status.IN_PROGRESS)
    return {
        code: spoken_range(place.eta.low, place.eta.high)
        for code, place in known.items()
        if place.eta and place.eta.low is not None and place.eta.high is not None
    }


def active_count(user: User) -> int:
    """How many of the user's batches are not in a final status."""
    return Batch.objects.visible_to(user).active().count()
