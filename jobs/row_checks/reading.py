# SPDX-License-Identifier: Apache-2.0
"""What came of a batch's checks: sums, single rows, and the rows that failed one.

A batch without checks costs no query here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, Min, OuterRef, QuerySet

from jobs.models import Batch, Result, RowCheck, RowOutcome
from jobs.models.results import ResultQuerySet

from .outcome import OF_LETTER, PENDING, Outcome

# The outcomes that an index finds; the others are most of a batch.
FOUND_BY_INDEX = (Outcome.FAILED, Outcome.ERROR)


@dataclass(frozen=True, slots=True)
class Tally:
    """A check and how many results it has judged how, of `results` so far."""

    check: RowCheck
    results: int

    @property
    def pending(self) -> int:
        """Results that it has still to see."""
        return max(self.results - self.check.checked_seq, 0)


@dataclass(frozen=True, slots=True)
class Said:
    """What one check said of one row; no outcome: it has not seen it yet."""

    name: str
    outcome: Outcome | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows with that outcome of that check; without a check, of any."""

    outcome: Outcome
    check: RowCheck | None = None

    @property
    def text(self) -> str:
        """As it stands in an address: `name:failed`."""
        return f"{self.check.name if self.check else ''}:{self.outcome.value}"

    def matching(self) -> QuerySet[RowOutcome]:
        """The outcomes, of all batches."""
        found = RowOutcome.objects.all()
        if self.outcome in FOUND_BY_INDEX:
            found = found.flagged()
        if self.check is None:
            return found.with_any_letter(self.outcome.letter)
        return found.with_letter(self.check.position, self.outcome.letter)


def wanted_by(batch: Batch, text: str) -> Wanted | None:
    """What `NAME:failed` asks for; `:failed` asks for any check; None: nothing known."""
    name, _, word = text.rpartition(":")
    try:
        outcome = Outcome(word)
    except ValueError:
        return None
    if not batch.check_count:
        return None
    if not name:
        return Wanted(outcome)
    # Compared here, as PostgreSQL does not take every text.
    checks = RowCheck.objects.filter(batch=batch)
    check = next((check for check in checks if check.name == name), None)
    return None if check is None else Wanted(outcome, check)


def tallies(batches: Iterable[Batch]) -> dict[int, list[Tally]]:
    """The checks of those batches that have any, by the batch's key, in their order."""
    seqs = {b.pk: b.result_seq for b in batches if b.check_count}
    found: dict[int, list[Tally]] = defaultdict(list)
    if seqs:
        for check in RowCheck.objects.filter(batch__in=seqs):
            found[check.batch_id].append(Tally(check, seqs[check.batch_id]))
    return found


def outcomes_for(batch: Batch, results: Sequence[Result]) -> dict[int, list[Said]]:
    """What each check said of these results of the batch, by the result's key."""
    if not batch.check_count or not results:
        return {}
    names = list(RowCheck.objects.filter(batch=batch).values_list("name", flat=True))
    rows = RowOutcome.objects.in_bulk([result.pk for result in results])
    return {result.pk: _said(names, rows.get(result.pk)) for result in results}


def _said(names: Sequence[str], row: RowOutcome | None) -> list[Said]:
    letters = row.letters if row else ""
    reasons: Mapping[str, Any] = json.loads(row.reasons or "{}") if row else {}
    return [
        Said(name, OF_LETTER.get(letter), str(reasons.get(str(place), "")))
        for place, (name, letter) in enumerate(
            zip(names, letters.ljust(len(names), PENDING), strict=False)
        )
    ]


def flagged_indexes(
    batch: Batch, wanted: Wanted, *, after: int = -1, limit: int
) -> list[int]:
    """The indexes of the next rows that a check flagged so, in input order, by keyset.

    For outcomes that an index finds.
    """
    assert wanted.outcome in FOUND_BY_INDEX
    found = wanted.matching().filter(batch=batch, index__gt=after).order_by("index")
    return list(found.values_list("index", flat=True)[:limit])


def filter_results(results: ResultQuerySet, wanted: Wanted) -> ResultQuerySet:
    """The results with that outcome: looks at each, so call it on a bounded part."""
    return results.filter(Exists(wanted.matching().filter(result=OuterRef("pk"))))


def checked_seq(batch: Batch, wanted: Wanted) -> int:
    """Up to which seq it is known whether a result is wanted."""
    if wanted.check is not None:
        return wanted.check.checked_seq
    slowest = RowCheck.objects.filter(batch=batch).aggregate(seq=Min("checked_seq"))
    return int(slowest["seq"] or 0)
