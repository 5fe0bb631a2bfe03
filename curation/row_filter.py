# SPDX-License-Identifier: Apache-2.0
"""Results of a batch by what became of them in review."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.expressions import NegatedExpression

from jobs.extensions import RowFilter
from jobs.models import Batch

from .models import Candidate, ReviewItem

State = ReviewItem.State
IN_NONE = "none"
ITEM = "version__item__"
# What can be asked, in words, and what is true then of an item that has the answer.
ASKED: dict[str, tuple[str, Q]] = {
    "any": ("in a queue", Q()),
    "waiting": (
        "waiting",
        Q(**{f"{ITEM}state__in": [State.PENDING, State.IN_PROGRESS]}),
    ),
    "undecided": ("to be decided", Q(**{f"{ITEM}state": State.AWAITING_RESOLUTION})),
    "done": ("done", Q(**{f"{ITEM}state": State.COMPLETED})),
    "flagged": ("flagged", Q(**{f"{ITEM}flagged": True})),
    "excluded": ("left out", Q(**{f"{ITEM}state": State.EXCLUDED})),
}


def _applies(batch: Batch) -> bool:
    return Candidate.objects.filter(batch=batch).exists()


def _places(batch: Batch, value: str) -> QuerySet[Candidate, int] | None:
    if value == IN_NONE:
        return None
    rows = Candidate.objects.filter(batch=batch).order_by("index")
    return rows.values_list("index", flat=True)


def _holds(value: str) -> Exists | NegatedExpression[Any]:
    """Of the newest version of an item alone; gold items wait for nobody."""
    rows = Candidate.objects.filter(result=OuterRef("pk"))
    if value == IN_NONE:
        return ~Exists(rows)
    rows = rows.filter(version=F("version__item__version"))
    if value == "waiting":
        rows = rows.filter(version__item__gold_text="")
    return Exists(rows.filter(ASKED[value][1]))


CHOICES = [
    *((value, words) for value, (words, _) in ASKED.items()),
    (IN_NONE, "in no queue"),
]
BY_REVIEW = RowFilter("review", "review", CHOICES, _applies, _places, _holds)
