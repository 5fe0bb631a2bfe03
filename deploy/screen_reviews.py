# SPDX-License-Identifier: Apache-2.0
"""What is reviewed on the invented site of `make screenshots`."""

from __future__ import annotations

from typing import Any

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import ensure_member
from curation import queues, reviewing, rubrics
from curation.models import ReviewItem, ReviewQueue, RubricVersion
from curation.questions import read
from curation.ready import READY
from jobs.models import Batch

GUIDELINES = (
    "A summary is good when somebody who never saw the review knows what the thing does,"
    " how the buyer liked it, and what its maker could mend."
)
# So many of the queue's items have somebody's judgement already, and so many two.
ITEMS, ONCE, TWICE = 48, 31, 26


def seed(team: Team, owner: User, batch: Batch) -> dict[str, str]:
    """A queue of the batch's answers that two judge, and one that waits; their names."""
    asked = _rubric(team, owner, "free-answer")
    queue = queues.create_queue(
        team=team,
        name="Product reviews, sample",
        kind="single",
        rubric_version=asked,
        user=owner,
        overlap=2,
        auto_resolve="unanimous",
        guidelines=GUIDELINES,
    )
    _fill(queue, batch, ITEMS, owner)
    people = [_curator(team, name) for name in ("curator", "reviewer")]
    for number, person in enumerate([owner, *people]):
        for place in range(ITEMS):
            if _judges(number, place):
                _judge(queue, person, number)
    waiting = queues.create_queue(
        team=team,
        name="Summaries for the newsletter",
        kind="single",
        rubric_version=_rubric(team, owner, "report-evaluation"),
        user=owner,
    )
    _fill(waiting, batch, 12, owner)
    torn = queue.items.filter(state=ReviewItem.State.AWAITING_RESOLUTION)
    return {"queue": queue.public_id, "torn": torn[0].public_id}


def _rubric(team: Team, owner: User, slug: str) -> RubricVersion:
    one = next(one for one in READY if one.slug == slug)
    made = rubrics.create_rubric(
        team=team,
        name=one.name,
        questions=read("questions", list(one.questions)),
        user=owner,
    )
    return made.latest


def _fill(queue: ReviewQueue, batch: Batch, most: int, user: User) -> None:
    answered = batch.results.filter(outcome="completed").order_by("index")
    places = list(answered.values_list("index", flat=True)[:most])
    subjects = queues.answers_of(batch, places)
    queues.add_items(queue=queue, subjects=subjects, user=user)


def _curator(team: Team, name: str) -> User:
    email = f"{name}@example.com"
    return ensure_member(team_name=team.name, email=email, role="curator").user


def _judges(number: int, place: int) -> bool:
    """Whether that one takes an item in that turn: the second and third take turns."""
    if number == 0:
        return place < ONCE
    return place < TWICE and place % 2 == number - 1


def _judge(queue: ReviewQueue, person: User, number: int) -> None:
    work = reviewing.next_work(queue=queue, user=person)
    assert work is not None
    place = work.item.pk
    bad = place % 4 == 0 or (number > 0 and place % 7 == 3)
    answers: dict[str, Any] = {"verdict": "bad" if bad else "good"}
    answers["quality"] = (4 if bad else 8) + (place + number) % 3 % 2
    if bad:
        answers["why"] = "It leaves out what the buyer did not like."
    reviewing.submit(
        version=work.version,
        user=person,
        answers=answers,
        seconds=11.0 + (place * 7 + number) % 17,
    )
