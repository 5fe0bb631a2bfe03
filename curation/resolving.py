# SPDX-License-Identifier: Apache-2.0
"""From judgements to what holds: by a queue's rule, or by a person.

All of this runs under the lock of the item's row. A rule never overrules a person.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from batchsite.accounts.models import User
from jobs.row_checks.parameters import bad

from . import gold
from .models import (
    ItemVersion,
    Resolution,
    Response,
    ReviewEvent,
    ReviewItem,
    ReviewQueue,
)
from .questions import Question, read_answers

State = ReviewItem.State
How = Resolution.How
Rule = ReviewQueue.AutoResolve
NOTE_LENGTH = 2000
# What people write beside their judgement is in their responses, and decides nothing.
UNCOMPARED = ("text", "spans")


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's answers, and how much they count."""

    answers: Mapping[str, Any]
    weight: float = 1.0


def is_decided(version: ItemVersion) -> bool:
    """Whether a person, and no rule, resolved the version."""
    return Resolution.objects.filter(version=version, how=How.PERSON).exists()


def settle(item: ReviewItem) -> None:
    """Resolve the item where enough have judged it and its queue's rule can."""
    version = item.version
    if item.is_gold or version is None or is_decided(version):
        return
    Resolution.objects.filter(version=version).delete()
    if item.submitted < item.needed:
        _move(item, State.IN_PROGRESS)
        return
    responses = list(Response.objects.submitted().filter(version=version))
    found = _by_rule(item, responses)
    if found is None:
        questions = item.queue.rubric_version.questions
        apart = severity(questions, [response.answers for response in responses])
        ReviewItem.objects.filter(pk=item.pk).update(severity=apart)
        _move(item, State.AWAITING_RESOLUTION)
        return
    how, answers = found
    Resolution.objects.create(
        version=version,
        how=how,
        answers_text=json.dumps(answers),
        chosen=responses[0] if how == How.SINGLE else None,
    )
    _move(item, State.COMPLETED)


def reopen(item: ReviewItem) -> None:
    """Take a rule's resolution away, as a judgement of it was taken back."""
    if item.version is not None:
        Resolution.objects.filter(version=item.version).exclude(how=How.PERSON).delete()
    _move(item, State.IN_PROGRESS)


def decide(
    *,
    item: ReviewItem,
    user: User,
    chosen: Response | None = None,
    answers: Any = None,
    note: str = "",
) -> Resolution:
    """What holds of the item, by a person's word: somebody's judgement, or own answers.

    A new word replaces the old one, which stays in the item's history. Refused for
    answers that do not fit the rubric.
    """
    if (chosen is None) == (answers is None):
        raise bad("chosen", "choose a judgement, or write answers.")
    with transaction.atomic():
        rows = ReviewItem.objects.select_related("queue", "version")
        locked = rows.select_for_update(of=("self",)).get(pk=item.pk)
        version = locked.version
        if version is None:
            raise bad("item", "it has nothing to resolve.")
        if chosen is not None:
            if chosen.version_id != version.pk:
                raise bad("chosen", "it is about another version of this item.")
            holds = chosen.answers
        else:
            holds = read_answers(
                locked.queue.rubric_version.questions,
                answers,
                final=True,
                candidates=version.candidates.count(),
            )
        resolution, _ = Resolution.objects.update_or_create(
            version=version,
            defaults={
                "how": How.PERSON,
                "chosen": chosen,
                "answers_text": json.dumps(holds),
                "by": user,
                "note": note.replace("\0", "")[:NOTE_LENGTH],
                "created_at": timezone.now(),
            },
        )
        _move(locked, State.COMPLETED)
        ReviewEvent.objects.create(
            item=locked,
            version=version,
            user=user,
            kind="resolved",
            message=f"by the judgement of {chosen.user}"
            if chosen
            else "by own answers",
        )
    return resolution


def _move(item: ReviewItem, state: str) -> None:
    over = state in (State.COMPLETED, State.EXCLUDED)
    closed_at = timezone.now() if over else None
    ReviewItem.objects.filter(pk=item.pk).update(state=state, closed_at=closed_at)
    item.state, item.closed_at = state, closed_at


def _by_rule(
    item: ReviewItem, responses: Sequence[Response]
) -> tuple[How, dict[str, Any]] | None:
    """How, and what holds; None where a person must say."""
    queue = item.queue
    questions = queue.rubric_version.questions
    if item.needed == 1:
        return How.SINGLE, responses[0].answers
    votes = [Vote(response.answers) for response in responses]
    if queue.auto_resolve == Rule.NONE:
        return None
    if queue.auto_resolve == Rule.UNANIMOUS:
        answers = unanimous(questions, votes)
        return None if answers is None else (How.UNANIMOUS, answers)
    how = How.MAJORITY
    if queue.auto_resolve == Rule.WEIGHTED:
        how = How.WEIGHTED
        known = gold.accuracies(queue)
        votes = [
            Vote(r.answers, known.get(r.user_id, gold.NOBODY).weight) for r in responses
        ]
    answers = majority(questions, votes)
    return None if answers is None else (how, answers)


def unanimous(
    questions: Iterable[Question], votes: Sequence[Vote]
) -> dict[str, Any] | None:
    """What all say to each question that is compared; None where two differ."""
    holds = {}
    for question in _compared(questions):
        values = {_frozen(vote.answers.get(question.key)) for vote in votes}
        if len(values) > 1:
            return None
        if (value := votes[0].answers.get(question.key)) is not None:
            holds[question.key] = value
    return holds


def majority(
    questions: Iterable[Question], votes: Sequence[Vote]
) -> dict[str, Any] | None:
    """What more than half of the votes' weight says to each question that is compared.

    None where a required question has no such answer. One that may be left out is
    left out where none of its answers, silence included, has more than half.
    """
    holds = {}
    for question in _compared(questions):
        weights: defaultdict[str, float] = defaultdict(float)
        for vote in votes:
            weights[_frozen(vote.answers.get(question.key))] += vote.weight
        best = max(weights, key=lambda text: weights[text])
        if weights[best] * 2 > sum(weights.values()):
            value = json.loads(best)
            if value is not None:
                holds[question.key] = value
        elif question.required or question.type == "correction":
            return None
    return holds


def severity(
    questions: Iterable[Question], answers: Sequence[Mapping[str, Any]]
) -> float:
    """How far judgements are apart, 0 to 1: by the question in which they are most.

    For ratings and numbers with bounds the part of the scale between the extremes; for
    all else the share that is not with the largest group, of what it can be at most.
    """
    worst = 0.0
    for question in _compared(questions):
        given = [one[question.key] for one in answers if question.key in one]
        if len(given) < 2:
            continue
        low, high = question.low, question.high
        if low is not None and high is not None:
            worst = max(worst, (max(given) - min(given)) / (high - low))
            continue
        groups = Counter(_frozen(value) for value in given)
        apart = len(given) - max(groups.values())
        worst = max(worst, apart / (len(given) - 1))
    return worst


def _compared(questions: Iterable[Question]) -> list[Question]:
    return [question for question in questions if question.type not in UNCOMPARED]


def _frozen(value: Any) -> str:
    """The same text for the same answer."""
    return json.dumps(value, sort_keys=True)
