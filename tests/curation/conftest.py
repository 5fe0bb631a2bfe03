# SPDX-License-Identifier: Apache-2.0
"""Reviewers, and queues of a batch's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import ensure_member
from curation import queues, rubrics
from curation.models import ReviewQueue, Rubric
from curation.questions import read
from jobs.models import Batch

GOOD_OR_BAD: list[dict[str, Any]] = [
    {"key": "verdict", "type": "label", "title": "It is", "options": ["good", "bad"]},
    {"key": "note", "type": "text", "title": "Why?", "required": False},
]
WHICH = [{"key": "better", "type": "pairwise", "title": "Which is better?"}]
ORDER = [{"key": "order", "type": "ranking", "title": "From the best"}]
GOOD, BAD = {"verdict": "good"}, {"verdict": "bad"}
MakeQueue = Callable[..., ReviewQueue]


@pytest.fixture
def curators(team: Team) -> list[User]:
    """Five who may judge."""
    return [
        ensure_member(
            team_name=team.name, email=f"curator{n}@example.com", role="curator"
        ).user
        for n in range(5)
    ]


@pytest.fixture
def rubric(team: Team) -> Rubric:
    return rubrics.create_rubric(
        team=team, name="Good or bad", questions=read("q", GOOD_OR_BAD), user=None
    )


@pytest.fixture
def make_queue(team: Team, rubric: Rubric, answered: Callable[..., Batch]) -> MakeQueue:
    """Makes a queue of so many answers; other keywords are its settings."""

    def make(items: int = 3, **over: Any) -> ReviewQueue:
        name = f"queue {ReviewQueue.objects.count()}"
        settings: dict[str, Any] = {"name": name, "kind": "single"}
        settings["rubric_version"] = rubric.latest
        queue = queues.create_queue(team=team, user=None, **settings | over)
        if items:
            batch = answered(*(f"answer {n}" for n in range(items)))
            queues.add_items(queue=queue, subjects=queues.answers_of(batch), user=None)
        return queue

    return make
