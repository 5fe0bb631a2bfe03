# SPDX-License-Identifier: Apache-2.0
"""Rejected answers are asked for once more, and judged anew."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from batchsite.accounts.models import AuditEvent, User
from curation import datasets, rework
from curation.models import ItemVersion, ReviewItem, ReviewQueue, Rework
from curation.specs import Spec
from jobs import removal
from jobs.chores import do_chore
from jobs.models import Batch, Result
from jobs.refusals import Refused
from tests.web import rows

from .conftest import BAD, GOOD, WHICH, MakeQueue
from .test_queues import rubric_of
from .test_reviewing import judge, take

pytestmark = pytest.mark.django_db


def end(batch: Batch) -> None:
    """The batch has ended, with whatever it has of answers."""
    now = timezone.now()
    Batch.objects.filter(pk=batch.pk).update(
        status="completed",
        closing_reason="done",
        closed_at=now,
        completed_at=now,
        in_progress_at=now - timedelta(minutes=1),
    )


@pytest.fixture
def rejected(make_queue: MakeQueue, curators: list[User]) -> ReviewQueue:
    """Three answers of an ended batch: a bad one, a good one, a bad one."""
    queue = make_queue(3)
    for said in (BAD, GOOD, BAD):
        judge(queue, curators[0], said)
    end(Batch.objects.get())
    return queue


def bad_ones(queue: ReviewQueue) -> list[ReviewItem]:
    first, _, third = queue.items.order_by("pk")
    return [first, third]


def answered_anew(batch: Batch, *texts: str) -> None:
    """The child batch's requests are there and answered, as intake and engine do it."""
    Batch.objects.filter(pk=batch.pk).update(
        status="in_progress", total=len(texts), in_progress_at=timezone.now()
    )
    batch.refresh_from_db()
    rows.answer(batch, [rows.chat(text) for text in texts])
    # Of the first and the third request of the parent.
    batch.requests.filter(index=1).update(custom_id="row-2")
    end(batch)


def test_what_comes_back_is_judged_anew(
    rejected: ReviewQueue, owner: User, curators: list[User]
) -> None:
    items = bad_ones(rejected)
    (batch,) = rework.rework(
        queue=rejected,
        items=items,
        user=owner,
        system_prompt="Think.",
        note="too short",
    )
    assert (batch.parent, batch.team) == (Batch.objects.earliest("pk"), rejected.team)
    assert batch.expected_requests == 2
    assert do_chore("reworked items") == "0 items have a new version"

    answered_anew(batch, "better 0", "better 2")
    assert rework.wanted()
    assert do_chore("reworked items") == "2 items have a new version"
    assert not rework.wanted()
    assert do_chore("reworked items") == "0 items have a new version"

    for item in items:
        item.refresh_from_db()
        assert (item.state, item.submitted) == ("pending", 0)
        assert [version.number for version in item.versions.all()] == [1, 2]
    # Who judged the old answer judges the new one, too.
    work = take(rejected, curators[0])
    assert "better 0" in work.candidates[0].body
    assert work.candidates[0].batch_code == batch.public_id
    for _ in range(2):
        judge(rejected, curators[0], GOOD)
    # The newest word is what holds.
    dataset = datasets.create_dataset(team=rejected.team, name="d", user=None)
    version = datasets.build_version(
        dataset=dataset,
        queues=[rejected],
        spec=Spec("sft", {"verdict": ["good"]}),
        user=None,
    )
    assert version.rows == 3
    assert set(version.manifest["lineage"]["batches"]) == {
        *Batch.objects.values_list("public_id", flat=True)
    }
    kinds = list(items[0].events.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["added", "submitted", "reworked", "another_version", "submitted"]
    assert AuditEvent.objects.get(action="queue.rework").data == {
        "items": 2,
        "batch": batch.public_id,
    }


def test_an_answer_that_did_not_come_changes_nothing(
    rejected: ReviewQueue, owner: User
) -> None:
    items = bad_ones(rejected)
    (batch,) = rework.rework(queue=rejected, items=items, user=owner)
    answered_anew(batch, "better 0", "better 2")
    Result.objects.filter(batch=batch, index=1).update(
        outcome="failed", error_class="x", status_code=500
    )
    assert do_chore("reworked items") == "1 items have a new version"
    assert [item.versions.count() for item in items] == [2, 1]
    items[1].refresh_from_db()
    assert items[1].state == "completed"


def test_it_goes_on_where_it_stopped(rejected: ReviewQueue, owner: User) -> None:
    (batch,) = rework.rework(queue=rejected, items=bad_ones(rejected), user=owner)
    answered_anew(batch, "better 0", "better 2")
    assert rework.run(seconds=0) == "0 items have a new version"
    result = Result.objects.get(batch=batch, index=0)
    item = rejected.items.order_by("pk")[0]
    assert rework.add_version(item=item, result=result, why="x")
    assert not rework.add_version(item=item, result=result, why="x")
    assert rework.run() == "1 items have a new version"
    assert ItemVersion.objects.filter(number=2).count() == 2
    assert Rework.objects.get().applied_at


def test_what_cannot_be_made_anew_is_refused(
    rejected: ReviewQueue, make_queue: MakeQueue, owner: User
) -> None:
    item = rejected.items.order_by("pk")[0]
    pairs = make_queue(
        0, kind="pairwise", rubric_version=rubric_of(rejected.team, "p", WHICH)
    )
    other = make_queue(1)
    given: list[tuple[ReviewQueue, list[Any], str]] = [
        (pairs, [item], "only single answers"),
        (rejected, [], "1 to 50,000"),
        (other, [item], "of this queue"),
    ]
    for queue, items, words in given:
        with pytest.raises(Refused, match=words):
            rework.rework(queue=queue, items=items, user=owner)
    assert item.version
    batch = item.version.candidates.get().batch
    assert batch
    removal.delete_batch(batch=batch, user=owner)
    with pytest.raises(Refused, match="is deleted"):
        rework.rework(queue=rejected, items=[item], user=owner)
    assert not Rework.objects.exists()
