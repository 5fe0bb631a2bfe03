# SPDX-License-Identifier: Apache-2.0
"""How far a queue's reviewers agree, how each one works, and which model wins.

Read from submitted judgements of the newest version of each item. Where a number could
not be told from what there is, it is None: pages say so in words.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from django.db.models import F

from batchsite.accounts.models import User
from jobs.statistics import Interval

from . import agreement, gold, preferences
from .agreement import Pair, Unit
from .models import Candidate, Resolution, Response, ReviewItem, ReviewQueue
from .preferences import PositionBias, Strength, Vote, WinRate
from .questions import Question

READ_AT_ONCE = 1000
# Fewer units that two people judged say nothing.
LEAST_UNITS = 2


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one question: over `units` items that two or more people judged."""

    question: Question
    units: int
    percent: float | None = None
    alpha: float | None = None
    interval: Interval | None = None
    fleiss: float | None = None
    pairs: Sequence[Pair] = ()

    @property
    def is_enough(self) -> bool:
        """Whether there are items enough to tell of agreement."""
        return self.units >= LEAST_UNITS


@dataclass(frozen=True, slots=True)
class Reviewer:
    """What one person did in a queue; `seconds` is the median of a judgement.

    `agreed` and `compared` count answers beside the resolutions that came of several.
    """

    email: str
    judged: int
    drafts: int
    skipped: int
    seconds: float | None
    gold: gold.Accuracy
    agreed: int
    compared: int


@dataclass(frozen=True, slots=True)
class Preferences:
    """Of a pairwise queue: models against each other by resolved pairs.

    The pull of a side is told from all judgements, by the order that each person saw.
    """

    rates: Sequence[WinRate]
    strengths: Sequence[Strength] | None
    bias: PositionBias | None


def agreements(queue: ReviewQueue) -> list[Agreement]:
    """Of each question whose answers are compared, in the rubric's order."""
    questions = [q for q in queue.rubric_version.questions if q.level is not None]
    units: dict[str, dict[int, dict[str, Any]]] = {q.key: {} for q in questions}
    for response in _responses(queue):
        answers = response.answers
        for question in questions:
            value = answers.get(question.key)
            if value is not None:
                by_person = units[question.key].setdefault(response.version_id, {})
                by_person[response.user.email] = _comparable(value)
    return [_of_question(q, list(units[q.key].values())) for q in questions]


def _of_question(question: Question, units: Sequence[Unit]) -> Agreement:
    both = agreement.overlapping(units)
    if len(both) < LEAST_UNITS or question.level is None:
        return Agreement(question, len(both))
    return Agreement(
        question,
        len(both),
        agreement.percent_agreement(both),
        agreement.krippendorff_alpha(both, level=question.level),
        agreement.bootstrap_alpha(both, level=question.level),
        agreement.fleiss_kappa(both),
        agreement.pair_matrix(both),
    )


def _comparable(value: Any) -> Any:
    """Several labels are one value: the set that was chosen."""
    return tuple(value) if isinstance(value, list) else value


def _responses(queue: ReviewQueue) -> Iterator[Response]:
    """Submitted judgements of the items' newest versions, and their people."""
    return (
        Response.objects.submitted()
        .filter(version__item__queue=queue, version=F("version__item__version"))
        .exclude(version__item__state=ReviewItem.State.EXCLUDED)
        .select_related("user")
        .order_by("pk")
        .iterator(chunk_size=READ_AT_ONCE)
    )


def reviewers(queue: ReviewQueue) -> list[Reviewer]:
    """Everybody who did something in the queue, who judged most first."""
    accuracies = gold.accuracies(queue)
    # Of several judgements: one alone agrees with itself.
    alone = (Resolution.How.SINGLE, Resolution.How.IDENTICAL)
    holds = _resolutions(queue, but=alone)
    questions = [q for q in queue.rubric_version.questions if q.level is not None]
    seconds: defaultdict[int, list[float]] = defaultdict(list)
    agreed: Counter[int] = Counter()
    compared: Counter[int] = Counter()
    for response in _responses(queue):
        seconds[response.user_id].append(response.seconds)
        right = holds.get(response.version_id, {})
        marks = gold.marked(questions, right, response.answers)
        agreed[response.user_id] += marks.right
        compared[response.user_id] += marks.asked
    here = {"version__item__queue": queue}
    drafts = Counter(
        Response.objects.filter(state=Response.State.DRAFT, **here).values_list(
            "user", flat=True
        )
    )
    skipped = Counter(
        User.objects.filter(skips__version__item__queue=queue).values_list(
            "pk", flat=True
        )
    )
    keys = {*seconds, *drafts, *skipped}
    emails = dict(User.objects.filter(pk__in=keys).values_list("pk", "email"))
    found = [
        Reviewer(
            emails[key],
            len(seconds[key]),
            drafts[key],
            skipped[key],
            median(seconds[key]) if seconds[key] else None,
            accuracies.get(key, gold.NOBODY),
            agreed[key],
            compared[key],
        )
        for key in keys
    ]
    return sorted(found, key=lambda one: (-one.judged, one.email))


def _resolutions(
    queue: ReviewQueue, *, but: Sequence[str] = ()
) -> dict[int, Mapping[str, Any]]:
    """What holds of each newest version, by its key; not what was resolved in those ways."""
    rows = Resolution.objects.filter(
        version__item__queue=queue, version=F("version__item__version")
    ).exclude(how__in=but)
    return {
        version: json.loads(text)
        for version, text in rows.values_list("version", "answers_text")
    }


def preferences_of(queue: ReviewQueue) -> Preferences | None:
    """Of a pairwise queue with a resolved pair; else None."""
    asked = [q.key for q in queue.rubric_version.questions if q.type == "pairwise"]
    if not asked:
        return None
    models = _models(queue)
    resolved = [
        vote
        for version, answers in _resolutions(queue).items()
        if (vote := _vote(models[version], (0, 1), answers.get(asked[0])))
    ]
    if not resolved:
        return None
    seen = [
        vote
        for response in _responses(queue)
        if (
            vote := _vote(
                models[response.version_id],
                response.layout,
                response.answers.get(asked[0]),
            )
        )
    ]
    return Preferences(
        preferences.win_rates(resolved),
        preferences.bradley_terry(resolved),
        preferences.position_bias(seen),
    )


def _models(queue: ReviewQueue) -> dict[int, dict[int, str]]:
    """The model at each place of each version; twice the same has its batch beside."""
    found: defaultdict[int, dict[int, str]] = defaultdict(dict)
    candidates = Candidate.objects.filter(version__item__queue=queue).order_by("place")
    for version, place, model, batch in candidates.values_list(
        "version", "place", "model", "batch_code"
    ):
        others = found[version].values()
        found[version][place] = f"{model} ({batch})" if model in others else model
    return found


def _vote(models: Mapping[int, str], layout: Sequence[int], answer: Any) -> Vote | None:
    """Who stood where and won; "a" is the answer at place 0, however it was shown."""
    if answer is None or len(models) != 2 or len(layout) != 2:
        return None
    left, right = (models[place] for place in layout)
    winner = {"a": models[0], "b": models[1]}.get(answer)
    return Vote(left, right, winner)
