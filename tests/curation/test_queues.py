# SPDX-License-Identifier: Apache-2.0
"""What a queue is made of, and that nothing is in it twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import RestrictedError

from batchsite.accounts.models import AuditEvent, Team, User
from curation import queues, rubrics
from curation.models import (
    Candidate,
    ItemVersion,
    Resolution,
    ReviewItem,
    ReviewQueue,
    Rubric,
)
from curation.questions import read
from jobs.models import Batch, Result
from jobs.refusals import Refused
from tests.conftest import MakeBatch
from tests.web import rows

from .conftest import GOOD, ORDER, WHICH, MakeQueue
from .test_reviewing import judge

pytestmark = pytest.mark.django_db
Answered = Callable[..., Batch]


def fed(queue: ReviewQueue, subjects: Any) -> tuple[int, int, int]:
    """Added, known, without an answer."""
    done = queues.add_items(queue=queue, subjects=subjects, user=None)
    return done.added, done.known, done.without_answer


def rubric_of(team: Team, name: str, questions: Any) -> Any:
    made = rubrics.create_rubric(
        team=team, name=name, questions=read("q", questions), user=None
    )
    return made.latest


def test_answers_are_copied_once(make_queue: MakeQueue, answered: Answered) -> None:
    queue = make_queue(0)
    batch = answered("one", "two", "three")
    assert fed(queue, queues.answers_of(batch, [0, 2])) == (2, 0, 0)
    assert fed(queue, queues.answers_of(batch)) == (1, 2, 0)
    items = list(queue.items.all())
    assert [item.key for item in items] == [f"{batch.public_id}#{n}" for n in (0, 2, 1)]
    version = items[0].version
    assert version is not None
    assert (version.number, version.custom_id) == (1, "row-0")
    (candidate,) = version.candidates.all()
    result = Result.objects.get(batch=batch, index=0)
    assert candidate.body == result.body
    assert (candidate.result, candidate.batch_code) == (result, batch.public_id)
    assert candidate.model == "tiny"
    # They outlive their batch.
    Result.objects.filter(batch=batch).delete()
    batch.requests.all().delete()
    candidate.refresh_from_db()
    assert (candidate.result, candidate.body) == (None, result.body)


def test_what_failed_is_nothing_to_judge(
    make_queue: MakeQueue, make_batch: MakeBatch
) -> None:
    batch = make_batch(status="in_progress", total=3)
    rows.answer(batch, [rows.chat("yes")], failed=[rows.CONTEXT_ERROR] * 2)
    assert fed(make_queue(0), queues.answers_of(batch)) == (1, 0, 2)


def test_a_part_of_the_items_is_judged_by_several(make_queue: MakeQueue) -> None:
    queue = make_queue(200, overlap=3, coverage=30)
    needed = list(queue.items.values_list("needed", flat=True))
    assert set(needed) == {1, 3}
    # By the item's name: about 30 in 100, and always the same ones.
    assert 35 <= needed.count(3) <= 85
    whole = make_queue(20, overlap=3)
    assert set(whole.items.values_list("needed", flat=True)) == {3}


def test_two_batches_are_compared_by_custom_id(
    team: Team, make_queue: MakeQueue, answered: Answered
) -> None:
    queue = make_queue(0, kind="pairwise", rubric_version=rubric_of(team, "p", WHICH))
    first, second = answered("a", "same", "c"), answered("x", "same")
    assert fed(queue, queues.same_requests([first, second])) == (2, 0, 0)
    # The other way round it is the same pair.
    assert fed(queue, queues.same_requests([second, first])) == (0, 2, 0)
    one, same = queue.items.order_by("pk")
    assert one.version
    assert same.version
    assert [c.batch for c in one.version.candidates.all()] == [first, second]
    # Nobody compares what is the same.
    assert (one.state, same.state) == ("pending", "completed")
    resolution = Resolution.objects.get()
    assert (resolution.version, resolution.how) == (same.version, "identical")
    assert resolution.answers == {"better": "tie"}
    with pytest.raises(Refused, match="has not 1 answers"):
        fed(queue, queues.answers_of(first))


def test_several_batches_are_ranked(
    team: Team, make_queue: MakeQueue, answered: Answered
) -> None:
    queue = make_queue(0, kind="ranking", rubric_version=rubric_of(team, "r", ORDER))
    batches = [answered("a", "b"), answered("c"), answered("d", "e")]
    assert fed(queue, queues.same_requests(batches)) == (1, 0, 0)
    assert Candidate.objects.count() == 3


def test_gold_items_carry_their_right_answers(
    make_queue: MakeQueue, answered: Answered
) -> None:
    queue = make_queue(0)
    (result,) = next(queues._slices(answered("a"), None))
    assert fed(queue, [queues.Subject([result], gold=GOOD)]) == (1, 0, 0)
    item = queue.items.get()
    assert item.is_gold
    (other,) = next(queues._slices(answered("b"), None))
    with pytest.raises(Refused) as refused:
        fed(queue, [queues.Subject([other], gold={"verdict": "fine"})])
    assert refused.value.param == "gold.verdict"
    with pytest.raises(Refused, match="a right answer at least"):
        fed(queue, [queues.Subject([other], gold={})])
    assert ReviewItem.objects.count() == 1


@pytest.mark.parametrize(
    ("over", "param"),
    [
        ({"overlap": 0}, "overlap"),
        ({"overlap": 21}, "overlap"),
        ({"coverage": 101}, "coverage"),
        ({"gold_rate": 51}, "gold_rate"),
        ({"lock_minutes": 0}, "lock_minutes"),
        ({"auto_resolve": "dice"}, "auto_resolve"),
        ({"kind": "quiz"}, "kind"),
        ({"kind": "pairwise"}, "rubric"),
        ({"name": " "}, "name"),
        ({"guidelines": "a\0b"}, "guidelines"),
    ],
)
def test_what_is_wrong_is_named(
    make_queue: MakeQueue, over: dict[str, Any], param: str
) -> None:
    with pytest.raises(Refused) as refused:
        make_queue(0, **over)
    assert refused.value.param == param
    assert not ReviewQueue.objects.exists()


def test_rubrics_and_reviewers_are_the_teams_own(
    make_queue: MakeQueue, other_team: Team, stranger: User, viewer: User, team: Team
) -> None:
    foreign = rubric_of(other_team, "theirs", WHICH)
    with pytest.raises(Refused, match="no rubric of this team"):
        make_queue(0, rubric_version=foreign, kind="pairwise")
    for person in (stranger, viewer):
        with pytest.raises(Refused, match="may not curate"):
            make_queue(0, assignees=[person])
    with pytest.raises(Refused, match="for pairwise queues"):
        make_queue(0, rubric_version=rubric_of(team, "p", WHICH))


def test_a_queue_is_changed(
    make_queue: MakeQueue, owner: User, curators: list[User], rubric: Rubric
) -> None:
    queue, other = make_queue(0), make_queue(0)
    changed = queues.change_queue(
        queue=queue, user=owner, state="paused", overlap=2, assignees=curators[:2]
    )
    assert (changed.state, changed.overlap) == ("paused", 2)
    assert set(changed.assignees.all()) == set(curators[:2])
    with pytest.raises(Refused, match="of this name"):
        queues.change_queue(queue=queue, user=owner, name=other.name)
    with pytest.raises(Refused) as refused:
        queues.change_queue(queue=queue, user=owner, state="lost")
    assert refused.value.param == "state"
    told = AuditEvent.objects.get(action="queue.change")
    assert told.data == {"changed": ["assignees", "overlap", "state"]}
    assert rubric.latest.used


def test_a_queue_goes_with_all_that_it_has(
    make_queue: MakeQueue, curators: list[User], rubric: Rubric
) -> None:
    queue = make_queue(2)
    judge(queue, curators[0], GOOD)
    queue.delete()
    left = (ReviewItem, ItemVersion, Candidate, Resolution)
    assert [model.objects.count() for model in left] == [0, 0, 0, 0]
    with pytest.raises(RestrictedError):
        # What another queue asks stays.
        make_queue(0).rubric_version.rubric.delete()


def test_a_version_shows_what_was_asked(make_queue: MakeQueue) -> None:
    make_queue(1)
    version = ItemVersion.objects.get()
    assert "ask 0" in version.request_body
    assert version.endpoint == "/v1/chat/completions"
