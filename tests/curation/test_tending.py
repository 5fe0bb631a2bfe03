# SPDX-License-Identifier: Apache-2.0
"""What whoever looks after a queue does with items."""

from __future__ import annotations

import pytest

from batchsite.accounts.models import AuditEvent, User
from curation import resolving, reviewing, tending
from curation.models import Claim, Resolution, ReviewItem
from jobs.refusals import Refused

from .conftest import BAD, GOOD, MakeQueue
from .test_reviewing import judge, take

pytestmark = pytest.mark.django_db


def now(item: ReviewItem) -> ReviewItem:
    return ReviewItem.objects.get(pk=item.pk)


def test_what_is_left_out_is_given_to_nobody_and_comes_back_as_it_was(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(2)
    ann = curators[0]
    done = judge(queue, ann, GOOD)
    held = take(queue, ann).item

    count = tending.exclude(queue=queue, items=[done, held], user=ann, reason="dup")

    assert count == 2
    assert reviewing.next_work(queue=queue, user=ann) is None
    assert not Claim.objects.exists()
    assert now(held).events.first().message == "dup"  # type: ignore[union-attr]
    # Twice is once.
    assert tending.exclude(queue=queue, items=[done], user=ann) == 0

    assert tending.include(queue=queue, items=[done, held], user=ann) == 2
    assert (now(done).state, now(held).state) == ("completed", "pending")
    assert take(queue, ann).item == held
    kinds = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert list(kinds)[-2:] == ["queue.excluded", "queue.included"]


def test_what_is_given_to_somebody_is_that_persons_alone(
    make_queue: MakeQueue, curators: list[User], viewer: User
) -> None:
    queue = make_queue(1)
    ann, bob = curators[:2]
    item = take(queue, ann).item

    tending.assign(queue=queue, items=[item], user=ann, to=bob)

    assert reviewing.next_work(queue=queue, user=ann) is None
    assert take(queue, bob).item == item
    with pytest.raises(Refused, match="may not curate"):
        tending.assign(queue=queue, items=[item], user=ann, to=viewer)
    reviewing.release(version=take(queue, bob).version, user=bob)
    assert tending.assign(queue=queue, items=[item], user=ann, to=None) == 1
    assert take(queue, ann).item == item


def test_priority_within_bounds(make_queue: MakeQueue, curators: list[User]) -> None:
    queue = make_queue(2)
    last = queue.items.order_by("-pk")[0]
    tending.prioritise(queue=queue, items=[last], user=curators[0], priority=5)
    assert take(queue, curators[0]).item == last
    with pytest.raises(Refused, match="-1,000 to 1,000"):
        tending.prioritise(queue=queue, items=[last], user=curators[0], priority=1001)


def test_a_decision_is_taken_back_and_the_rule_holds_again(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(2, overlap=2, auto_resolve="unanimous")
    ann, bob = curators[:2]
    agreed, torn = judge(queue, ann, GOOD), judge(queue, ann, GOOD)
    judge(queue, bob, GOOD)
    judge(queue, bob, BAD)
    for item in (agreed, torn):
        resolving.decide(item=item, user=ann, answers=BAD)
    assert tending.reopen(queue=queue, items=[agreed, torn], user=ann) == 2

    assert (now(agreed).state, now(torn).state) == ("completed", "awaiting_resolution")
    assert Resolution.objects.get().how == "unanimous"
    assert tending.reopen(queue=queue, items=[agreed, torn], user=ann) == 0


def test_items_of_other_queues_are_not_touched(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue, other = make_queue(1), make_queue(1)
    with pytest.raises(ReviewItem.DoesNotExist):
        tending.exclude(queue=queue, items=other.items.all(), user=curators[0])
