# SPDX-License-Identifier: Apache-2.0
"""Who gets which item, what counts, and what can be taken back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from batchsite.accounts.models import User
from curation import queues, resolving, reviewing
from curation.models import (
    Claim,
    ItemVersion,
    Resolution,
    Response,
    ReviewEvent,
    ReviewItem,
    ReviewQueue,
    Skip,
)
from curation.reviewing import EnoughJudged, NothingToUndo, NotOpen, NotYours, Work
from jobs.refusals import Refused

from .conftest import BAD, GOOD, MakeQueue

pytestmark = pytest.mark.django_db


def take(queue: ReviewQueue, user: User) -> Work:
    """The person's next item; there must be one."""
    work = reviewing.next_work(queue=queue, user=user)
    assert work is not None
    return work


def judge(queue: ReviewQueue, user: User, answers: dict[str, Any]) -> ReviewItem:
    """Judge the person's next item; as it is afterwards."""
    work = take(queue, user)
    reviewing.submit(version=work.version, user=user, answers=answers)
    return ReviewItem.objects.get(pk=work.item.pk)


def let_go(version: ItemVersion, user: User) -> None:
    """The person's claim ended a minute ago."""
    ended = timezone.now() - timedelta(minutes=1)
    Claim.objects.filter(version=version, user=user).update(expires_at=ended)


def test_the_only_judgement_is_what_holds(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(2)
    ann, bob = curators[:2]
    first, second = take(queue, ann), take(queue, bob)
    assert first.item != second.item
    assert first.item.state == "in_progress"
    # Asked again, it is the same; nobody else gets it.
    assert take(queue, ann).item == first.item
    assert reviewing.next_work(queue=queue, user=curators[2]) is None

    response = reviewing.submit(
        version=first.version, user=ann, answers=GOOD, seconds=12.5
    )
    assert (response.state, response.answers, response.seconds) == (
        *("submitted", GOOD),
        12.5,
    )
    item = ReviewItem.objects.get(pk=first.item.pk)
    assert (item.state, item.submitted) == ("completed", 1)
    assert item.closed_at
    resolution = Resolution.objects.get()
    assert (resolution.how, resolution.chosen, resolution.answers) == (
        *("single", response),
        GOOD,
    )
    assert reviewing.next_work(queue=queue, user=ann) is None


def test_never_more_than_needed_hold_an_item(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1, overlap=2)
    ann, bob, cat = curators[:3]
    work = take(queue, ann)
    take(queue, bob)
    assert reviewing.next_work(queue=queue, user=cat) is None
    # A claim that has ended frees its place, and the item is another one's then.
    let_go(work.version, ann)
    take(queue, cat)
    with pytest.raises(EnoughJudged, match="no longer held"):
        reviewing.submit(version=work.version, user=ann, answers=GOOD)
    kept = Response.objects.get(user=ann)
    assert (kept.state, kept.answers) == ("draft", GOOD)
    for user in (bob, cat):
        judge(queue, user, BAD)
    with pytest.raises(EnoughJudged, match="Enough others"):
        reviewing.submit(version=work.version, user=ann, answers=GOOD)
    item = ReviewItem.objects.get()
    assert (item.submitted, item.state) == (2, "awaiting_resolution")


def test_a_claim_that_ended_does_no_harm_where_there_is_room(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1)
    work = take(queue, curators[0])
    let_go(work.version, curators[0])
    assert not reviewing.keep(version=work.version, user=curators[0])
    reviewing.submit(version=work.version, user=curators[0], answers=GOOD)
    assert ReviewItem.objects.get().state == "completed"


def test_a_heartbeat_keeps_and_a_release_frees(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1, lock_minutes=5)
    work = take(queue, curators[0])
    soon = timezone.now() + timedelta(seconds=30)
    Claim.objects.update(expires_at=soon)
    assert reviewing.keep(version=work.version, user=curators[0])
    assert Claim.objects.get().expires_at > soon + timedelta(minutes=4)
    reviewing.save_draft(version=work.version, user=curators[0], answers=GOOD)
    reviewing.release(version=work.version, user=curators[0])
    take(queue, curators[1])
    # What was drafted is still there.
    assert Response.objects.get(user=curators[0]).answers == GOOD


def test_drafts_are_half_done_and_lose_nothing(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1)
    work = take(queue, curators[0])
    note = {"note": "not yet"}
    reviewing.save_draft(version=work.version, user=curators[0], answers=note)
    assert take(queue, curators[0]).response.answers == note
    with pytest.raises(Refused) as refused:
        reviewing.submit(version=work.version, user=curators[0], answers=note)
    assert refused.value.param == "answers.verdict"
    reviewing.submit(version=work.version, user=curators[0], answers=GOOD)
    # A late autosave changes nothing.
    reviewing.save_draft(version=work.version, user=curators[0], answers=note)
    assert Response.objects.get().answers == GOOD


def test_who_never_opened_it_cannot_judge_it(
    make_queue: MakeQueue, curators: list[User], viewer: User, stranger: User
) -> None:
    queue = make_queue(1)
    work = take(queue, curators[0])
    with pytest.raises(NotYours, match="Open the item first"):
        reviewing.submit(version=work.version, user=curators[1], answers=GOOD)
    for person in (viewer, stranger):
        with pytest.raises(NotYours):
            reviewing.next_work(queue=queue, user=person)
        with pytest.raises(NotYours):
            reviewing.open_item(item=work.item, user=person)


def test_reviewers_and_items_are_assigned(
    make_queue: MakeQueue, curators: list[User], owner: User
) -> None:
    ann, bob, cat = curators[:3]
    queue = make_queue(2, assignees=[ann, bob])
    first = queue.items.order_by("pk")[0]
    ReviewItem.objects.filter(pk=first.pk).update(assigned_to=bob)
    first.refresh_from_db()
    with pytest.raises(NotYours, match="not one of the reviewers"):
        reviewing.next_work(queue=queue, user=cat)
    assert take(queue, ann).item != first
    with pytest.raises(NotYours, match="somebody else"):
        reviewing.open_item(item=first, user=ann)
    assert take(queue, bob).item == first


def test_a_paused_queue_takes_nothing_but_drafts(
    make_queue: MakeQueue, curators: list[User], owner: User
) -> None:
    queue = make_queue(1)
    work = take(queue, curators[0])
    queues.change_queue(queue=queue, user=owner, state="paused")
    queue.refresh_from_db()
    version = ItemVersion.objects.get()
    with pytest.raises(NotOpen, match="is paused"):
        reviewing.next_work(queue=queue, user=curators[0])
    reviewing.save_draft(version=version, user=curators[0], answers=BAD)
    assert Response.objects.get().answers == BAD
    with pytest.raises(NotOpen, match="is paused: what you said is kept"):
        reviewing.submit(version=version, user=curators[0], answers=GOOD)
    kept = Response.objects.get()
    assert (kept.state, kept.answers) == ("draft", GOOD)
    assert work.item.submitted == 0


def test_another_version_is_judged_anew(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1)
    work = take(queue, curators[0])
    second = ItemVersion.objects.create(
        item=work.item, number=2, request_body=work.version.request_body
    )
    ReviewItem.objects.update(version=second, state="pending", submitted=0)
    with pytest.raises(NotOpen, match="another version"):
        reviewing.submit(version=work.version, user=curators[0], answers=GOOD)
    assert Response.objects.get().state == "draft"
    item = judge(queue, curators[0], BAD)
    assert (item.version, item.state) == (second, "completed")


def test_the_urgent_comes_first(make_queue: MakeQueue, curators: list[User]) -> None:
    queue = make_queue(3)
    last = queue.items.order_by("-pk")[0]
    ReviewItem.objects.filter(pk=last.pk).update(priority=1)
    assert take(queue, curators[0]).item == last


def test_what_is_skipped_goes_to_others(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1)
    ann, bob = curators[:2]
    work = take(queue, ann)
    reviewing.skip(version=work.version, user=ann, reason="my own CV")
    assert reviewing.next_work(queue=queue, user=ann) is None
    assert take(queue, bob).item == work.item
    item = ReviewItem.objects.get()
    assert (item.submitted, Skip.objects.get().reason) == (0, "my own CV")
    strict = make_queue(1, skips="none")
    with pytest.raises(NotOpen, match="flag it instead"):
        reviewing.skip(version=take(strict, ann).version, user=ann)


def test_a_flag_stays_until_it_is_taken_away(
    make_queue: MakeQueue, curators: list[User], owner: User
) -> None:
    queue = make_queue(1)
    work = take(queue, curators[0])
    with pytest.raises(Refused) as refused:
        reviewing.flag(version=work.version, user=curators[0], reason=" ")
    assert refused.value.param == "reason"
    reviewing.flag(version=work.version, user=curators[0], reason="unreadable")
    item = judge(queue, curators[0], BAD)
    assert (item.flagged, item.flag_reason, item.state) == (
        *(True, "unreadable"),
        "completed",
    )
    reviewing.unflag(item=item, user=owner)
    item.refresh_from_db()
    assert (item.flagged, item.flag_reason) == (False, "")


def test_undo_goes_back_step_by_step(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(3)
    ann = curators[0]
    with pytest.raises(NothingToUndo):
        reviewing.undo(queue=queue, user=ann)
    first = judge(queue, ann, GOOD)
    second = take(queue, ann)
    reviewing.skip(version=second.version, user=ann)
    third = judge(queue, ann, BAD)
    assert reviewing.next_work(queue=queue, user=ann) is None

    assert reviewing.undo(queue=queue, user=ann).item == third
    third.refresh_from_db()
    assert (third.state, third.submitted) == ("in_progress", 0)
    # What was said is still there, and the item is held again.
    assert take(queue, ann).response.answers == BAD
    assert reviewing.undo(queue=queue, user=ann) == second.version
    assert not Skip.objects.exists()
    assert reviewing.undo(queue=queue, user=ann).item == first
    assert not Resolution.objects.exists()
    with pytest.raises(NothingToUndo):
        reviewing.undo(queue=queue, user=ann)
    # Forward again.
    judged = {judge(queue, ann, GOOD).pk for _ in range(3)}
    assert len(judged) == 3
    assert set(queue.items.values_list("state", flat=True)) == {"completed"}
    reviewing.undo(queue=queue, user=ann)


def test_others_undo_nothing_of_mine(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1)
    judge(queue, curators[0], GOOD)
    with pytest.raises(NothingToUndo):
        reviewing.undo(queue=queue, user=curators[1])


def test_submitting_again_changes_the_answers(
    make_queue: MakeQueue, curators: list[User], owner: User
) -> None:
    queue = make_queue(1)
    item = judge(queue, curators[0], GOOD)
    version = ItemVersion.objects.get()
    reviewing.submit(version=version, user=curators[0], answers=BAD)
    item.refresh_from_db()
    assert (item.submitted, Resolution.objects.get().answers) == (1, BAD)
    resolving.decide(item=item, user=owner, answers=GOOD)
    with pytest.raises(NotOpen, match="is resolved"):
        reviewing.submit(version=version, user=curators[0], answers=BAD)
    with pytest.raises(NothingToUndo, match="A person has resolved"):
        reviewing.undo(queue=queue, user=curators[0])
    assert Resolution.objects.get().answers == GOOD


def test_gold_items_come_at_their_rate_and_never_end(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(30, gold_rate=50)
    golden = queue.items.order_by("pk")[:10]
    pks = [item.pk for item in golden]
    ReviewItem.objects.filter(pk__in=pks).update(gold_text='{"verdict": "good"}')
    seen = [judge(queue, curators[0], GOOD) for _ in range(16)]
    gold = sum(item.is_gold for item in seen)
    assert 3 <= gold <= 13
    # Everybody is measured by them, whoever judged them before.
    theirs = [judge(queue, curators[1], BAD) for _ in range(10)]
    again = {i.pk for i in seen if i.is_gold} & {i.pk for i in theirs if i.is_gold}
    assert again
    assert not Resolution.objects.filter(version__item__in=pks).exists()
    # An item whose answers are known is no work that is left to do.
    done = {i.pk for i in (*seen, *theirs) if not i.is_gold}
    assert len(done) == len([i for i in (*seen, *theirs) if not i.is_gold])


def test_several_answers_are_seen_in_an_order_of_ones_own(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1)
    work = take(queue, curators[0])
    assert work.response.layout == [0]
    assert work.shown == work.candidates
    assert ReviewEvent.objects.filter(kind="added").count() == 1
