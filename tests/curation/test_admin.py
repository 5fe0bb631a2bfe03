# SPDX-License-Identifier: Apache-2.0
"""Curation from the admin: many items at once, asked first where it matters, audited."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from batchsite.accounts.models import AuditEvent, User
from curation.models import Resolution, ReviewItem
from tests.web.test_admin_actions import act

from .conftest import BAD, GOOD, MakeQueue
from .test_reviewing import judge

pytestmark = pytest.mark.django_db
TABLE = "curation/reviewitem"


@pytest.fixture
def admin(client: Client, staff: User) -> Client:
    client.force_login(staff)
    return client


def state(item: ReviewItem) -> str:
    return ReviewItem.objects.get(pk=item.pk).state


def test_items_are_left_out_and_taken_in(admin: Client, make_queue: MakeQueue) -> None:
    one, two = make_queue(2).items.all()
    assert "Leave these out" in act(admin, TABLE, "leave_out", one.pk)
    assert state(one) == "pending"
    page = act(admin, TABLE, "leave_out", one.pk, two.pk, sure="yes", line="dup")
    assert "2 items were left out." in page
    assert state(one) == "excluded"
    assert "1 item was taken in again." in act(admin, TABLE, "take_in", one.pk)
    assert AuditEvent.objects.filter(action="queue.excluded").count() == 1


def test_items_are_given_flagged_and_looked_after(
    admin: Client, make_queue: MakeQueue, curators: list[User], viewer: User
) -> None:
    (item,) = make_queue(1).items.all()
    email = curators[0].email
    page = act(admin, TABLE, "give_to", item.pk, sure="yes", line=email)
    assert "1 item was given." in page
    item.refresh_from_db()
    assert item.assigned_to == curators[0]
    page = act(admin, TABLE, "give_to", item.pk, sure="yes", line="no@example.com")
    assert "Nobody has the address" in page
    page = act(admin, TABLE, "give_to", item.pk, sure="yes", line=viewer.email)
    assert "may not curate in this team" in page

    page = act(admin, TABLE, "flag", item.pk, sure="yes", line="odd")
    assert "1 item was flagged." in page
    page = act(admin, TABLE, "unflag", item.pk)
    assert "1 item was no longer flagged." in page
    page = act(admin, TABLE, "flag", item.pk, sure="yes", line=" ")
    assert "say what is wrong" in page


def test_disputes_are_decided_together(
    admin: Client, make_queue: MakeQueue, curators: list[User], staff: User
) -> None:
    queue = make_queue(2, overlap=3)
    for person, first, second in zip(
        curators, (GOOD, GOOD, BAD), (GOOD, BAD, GOOD), strict=False
    ):
        judge(queue, person, first)
        judge(queue, person, second)
    keys = [item.pk for item in queue.items.all()]
    assert "2 items were decided." in act(admin, TABLE, "decide", *keys, sure="yes")
    assert {r.by for r in Resolution.objects.all()} == {staff}
    assert all(r.answers == GOOD for r in Resolution.objects.all())
    assert "2 items were reopened." in act(admin, TABLE, "reopen", *keys)
    assert set(queue.items.values_list("state", flat=True)) == {"awaiting_resolution"}


def test_what_holds_makes_gold_items(
    admin: Client, make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(2)
    item = judge(queue, curators[0], GOOD)
    keys = [one.pk for one in queue.items.all()]
    # Nothing holds of the other one.
    assert "1 item was made gold items." in act(admin, TABLE, "make_gold", *keys)
    item.refresh_from_db()
    assert item.is_gold
    assert "1 item was made ordinary." in act(admin, TABLE, "no_gold", *keys)
    item.refresh_from_db()
    assert (item.is_gold, item.state, item.submitted) == (False, "completed", 1)


def test_staff_without_the_right_change_nothing(
    client: Client, make_queue: MakeQueue
) -> None:
    looks = User.objects.create_user("looks@example.com", is_staff=True)
    looks.user_permissions.add(Permission.objects.get(codename="view_reviewitem"))
    client.force_login(looks)
    (item,) = make_queue(1).items.all()
    act(client, TABLE, "leave_out", item.pk, sure="yes")
    assert state(item) == "pending"
