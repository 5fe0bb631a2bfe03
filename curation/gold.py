# SPDX-License-Identifier: Apache-2.0
"""Gold items: their right answers are known, and tell how accurate a reviewer is."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .models import Response, ReviewItem, ReviewQueue
from .questions import Question


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A reviewer's answers to questions of gold items: how many, and how many right."""

    asked: int
    right: int

    @property
    def share(self) -> float:
        """From 0 to 1; nothing asked is 0."""
        return self.right / self.asked if self.asked else 0.0

    @property
    def weight(self) -> float:
        """What a vote counts: the share, drawn to one half where little was asked.

        Laplace's rule of succession: (right + 1) / (asked + 2).
        """
        return (self.right + 1) / (self.asked + 2)


NOBODY = Accuracy(0, 0)


def right_answers(item: ReviewItem) -> dict[str, Any]:
    """The known answers of a gold item, by question."""
    found: dict[str, Any] = json.loads(item.gold_text) if item.gold_text else {}
    return found


def marked(
    questions: Sequence[Question], right: Mapping[str, Any], given: Mapping[str, Any]
) -> Accuracy:
    """How one person's answers compare with the right ones, question by question."""
    asked = [q.key for q in questions if q.key in right]
    return Accuracy(len(asked), sum(given.get(key) == right[key] for key in asked))


def accuracies(queue: ReviewQueue) -> dict[int, Accuracy]:
    """Of each reviewer who judged a gold item of the queue, by the person's key."""
    questions = queue.rubric_version.questions
    found: defaultdict[int, list[Accuracy]] = defaultdict(list)
    answered = Response.objects.submitted().filter(version__item__queue=queue)
    for response in answered.exclude(version__item__gold_text="").select_related(
        "version__item"
    ):
        right = right_answers(response.version.item)
        found[response.user_id].append(marked(questions, right, response.answers))
    return {
        user: Accuracy(sum(a.asked for a in all_), sum(a.right for a in all_))
        for user, all_ in found.items()
    }
