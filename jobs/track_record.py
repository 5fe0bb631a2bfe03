# SPDX-License-Identifier: Apache-2.0
"""What became of past estimates: how far off they were, and what batches were like."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from batchsite.accounts.models import Team

from .lengths import Lengths, from_json
from .models import BatchEstimate

# Of each model the newest batches tell; older ones were perhaps another engine's.
NEWEST = 40
JUDGED = 20
# From so many on, past errors say how wide a range must be.
ENOUGH_ERRORS = 10
# The part of the batches that a range should hold.
HELD = 0.8
ENOUGH_ANSWERS = 20
ENOUGH_TOKENS = 1000


# What is read of each; the basis in words is long.
COLUMNS = (
    *("batch__team", "endpoint", "seconds", "seconds_low", "seconds_high"),
    *("ran_seconds", "characters", "character_tokens", "lengths"),
)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How the newest estimates of a model held.

    `median_error` is a part of the time that a batch took; `within` counts those that
    took a time within their range.
    """

    estimates: int
    median_error: float
    within: int

    @property
    def words(self) -> str:
        """As a sentence's end: `off by 9 % (…)`."""
        many = f"median of the last {self.estimates}" if self.estimates > 1 else "one"
        return (
            f"off by {self.median_error:.0%} ({many}; {self.within} of"
            f" {self.estimates} within their range)".replace("%", " %")
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """One ended batch: what was expected, what it took, what its requests were like."""

    team: int
    endpoint: str
    seconds: float | None
    low: float | None
    high: float | None
    ran: float | None
    characters: int
    character_tokens: int
    lengths: Lengths


def outcomes(model: str) -> list[Outcome]:
    """The newest ended batches of that model, newest first; "" for several models."""
    rows = BatchEstimate.objects.filter(model=model, settled_at__isnull=False).order_by(
        "-settled_at"
    )
    return [
        Outcome(
            team=one.batch.team_id,
            endpoint=one.endpoint,
            seconds=one.seconds,
            low=one.seconds_low,
            high=one.seconds_high,
            ran=one.ran_seconds,
            characters=one.characters,
            character_tokens=one.character_tokens,
            lengths=from_json(one.lengths),
        )
        for one in rows.select_related("batch").only(*COLUMNS)[:NEWEST]
    ]


def accuracy(found: Iterable[Outcome]) -> Accuracy | None:
    """Of the newest outcomes that can be judged; None without any."""
    judged = [
        (one.seconds, one.low or 0.0, one.high or 0.0, one.ran)
        for one in found
        if one.seconds is not None and one.ran
    ]
    return _accuracy(judged[:JUDGED])


def _accuracy(judged: Sequence[tuple[float, float, float, float]]) -> Accuracy | None:
    if not judged:
        return None
    errors = [abs(seconds - ran) / ran for seconds, _, _, ran in judged]
    within = sum(low <= ran <= high for _, low, high, ran in judged)
    return Accuracy(len(judged), statistics.median(errors), within)


def accuracy_of(models: Collection[str]) -> dict[str, Accuracy]:
    """The accuracy for each of these models that has one; one query."""
    place = Window(
        RowNumber(), partition_by=F("model"), order_by=F("settled_at").desc()
    )
    rows = (
        _judged()
        .filter(model__in=models)
        .annotate(place=place)
        .filter(place__lte=JUDGED)
        .values_list("model", "seconds", "seconds_low", "seconds_high", "ran_seconds")
    )
    by_model: defaultdict[str, list[Any]] = defaultdict(list)
    for model, *figures in rows:
        by_model[model].append(tuple(figures))
    found = {model: _accuracy(judged) for model, judged in by_model.items()}
    return {model: one for model, one in found.items() if one is not None}


def _judged() -> QuerySet[BatchEstimate]:
    return BatchEstimate.objects.filter(
        Q(ran_seconds__gt=0), settled_at__isnull=False, seconds__isnull=False
    )


def held_range(found: Iterable[Outcome]) -> tuple[float, float] | None:
    """Parts of an estimate between which batches took their time, for 80 % of them.

    The quantiles of conformal prediction (Vovk et al., 2005): of n past batches the
    k-th smallest ratio, k = 0.9 (n + 1), is not passed by nine of ten next ones, if
    these are like the past ones; the same below. None while there are too few.
    """
    ratios = sorted(one.ran / one.seconds for one in found if one.ran and one.seconds)
    n = len(ratios)
    if n < ENOUGH_ERRORS:
        return None
    tail = (1 - HELD) / 2
    low = max(math.floor(tail * (n + 1)), 1)
    high = min(math.ceil((1 - tail) * (n + 1)), n)
    return ratios[low - 1], ratios[high - 1]


def characters_a_token(found: Iterable[Outcome]) -> tuple[float, int] | None:
    """Characters of a body for each input token, and of how many batches; None: too few."""
    used = [one for one in found if one.character_tokens]
    tokens = sum(one.character_tokens for one in used)
    if tokens < ENOUGH_TOKENS:
        return None
    return sum(one.characters for one in used) / tokens, len(used)


def lengths_for(
    found: Sequence[Outcome], *, team: Team | None, endpoint: str
) -> tuple[Lengths, str] | None:
    """How long answers were, and whose, in words; None: too few are known.

    The team's own batches for the endpoint tell most; then those of all teams.
    """
    same = [one for one in found if one.endpoint == endpoint]
    own = [one for one in same if team is not None and one.team == team.pk]
    for some, whose in (
        (own, "of your team for this endpoint"),
        (same, "for this endpoint"),
        (found, "for any endpoint"),
    ):
        merged = Lengths().merge(one.lengths for one in some)
        if merged.answers >= ENOUGH_ANSWERS:
            return merged, f"the newest {len(some)} ended batches {whose}"
    return None
