# SPDX-License-Identifier: Apache-2.0
"""Pages by keyset: the next page starts after a row, not after a count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Case, F, TextField, Value, When
from django.db.models.functions import Length, Substr
from django.http import QueryDict

from batchsite.accounts.models import User
from jobs.models import Batch, Result
from jobs.row_checks import Wanted, flagged_indexes
from jobs.templatetags.figures import stalled_for

BATCHES = 50
RESULTS = 25
FIRST_FAILURES = 5
# Longer answers are not parsed for a preview; their first characters are shown.
PARSED_CHARACTERS = 60_000
SHOWN_CHARACTERS = 600

FILTERS: dict[str, tuple[str, ...]] = {
    "active": tuple(Batch.ACTIVE),
    **{status: (status,) for status in Batch.Status.values},
}
# The filters that have a place in the bar; the others work in the address.
BAR = ("active", "completed", "failed", "cancelled", "expired")


@dataclass(frozen=True)
class BatchPage:
    """One page of batches, newest first, and the addresses of its neighbours."""

    batches: list[Batch]
    newer: str
    older: str

    @property
    def shown(self) -> list[tuple[Any, ...]]:
        """What the rows display of the batches: a change here is a change there."""
        return [
            (
                *(b.pk, b.status, b.name, b.tags, b.model, b.paused),
                *(b.total, b.completed, b.failed, stalled_for(b)),
            )
            for b in self.batches
        ]


def _query(query: QueryDict, **changes: str) -> str:
    kept = query.copy()
    for name in ("before", "after"):
        kept.pop(name, None)
    kept.update(changes)
    return f"?{kept.urlencode()}"


def batches(user: User, query: QueryDict) -> BatchPage:
    """The page of the user's batches that `status`, `tag`, `before` and `after` name.

    An unknown status is as good as none; after an unknown batch comes nothing.
    """
    found = Batch.objects.visible_to(user)
    before, after = query.get("before", ""), query.get("after", "")
    # Of the user's batches alone, but in any status: it may have moved meanwhile.
    named = found.filter(public_id=after or before).values("pk")
    statuses = FILTERS.get(query.get("status", ""))
    if statuses:
        found = found.filter(status__in=statuses)
    if tag := query.get("tag", ""):
        found = found.tagged(tag)
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
    )


def active_count(user: User) -> int:
    """How many of the user's batches are not in a final status."""
    return Batch.objects.visible_to(user).active().count()


def results(
    batch: Batch, *, outcome: str = "", after: int = -1, wanted: Wanted | None = None
) -> list[Result]:
    """One page of results and one more in input order, answers shortened in SQL.

    `wanted` are those that a check flagged, whatever their outcome. Each has `answer` (the whole body when it is short enough to parse) and `start`
    (its first characters). Bodies of megabytes never reach this process.
    """
    # Not with_custom_ids(): its defer() would meet only().
    found = Result.objects.filter(batch=batch, index__gt=after)
    if wanted is not None:
        indexes = flagged_indexes(batch, wanted, after=after, limit=RESULTS + 1)
        found = found.filter(index__in=indexes)
    elif outcome == Result.Outcome.FAILED:
        found = found.failed()
    elif outcome in Result.Outcome.values:
        found = found.filter(outcome=outcome)
    return list(
        found.select_related("request")
        .defer("body", "request__body")
        .annotate(
            length=Length("body"),
            start=Substr("body", 1, SHOWN_CHARACTERS),
        )
        .annotate(
            answer=Case(
                When(length__lte=PARSED_CHARACTERS, then=F("body")),
                default=Value(""),
                output_field=TextField(),
            )
        )
        .order_by("index")[: RESULTS + 1]
    )
