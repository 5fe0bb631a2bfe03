# SPDX-License-Identifier: Apache-2.0
"""Actions of the admin: asked twice where nothing takes them back, and audited."""

from __future__ import annotations

import pytest
from django.test import Client

from batchsite.accounts.models import ApiKey, AuditEvent, Team, User
from batchsite.accounts.people import create_api_key
from jobs.models import Batch, Engine
from tests.conftest import MakeBatch
from tests.jobs.webhook_rows import make_delivery, make_endpoint
from tests.web import rows


@pytest.fixture
def admin(client: Client, staff: User) -> Client:
    client.force_login(staff)
    return client


def act(admin: Client, table: str, action: str, *keys: object, **more: str) -> str:
    given = {"action": action, "_selected_action": keys, **more}
    r = admin.post(f"/admin/{table}/", given, follow=True)
    assert r.status_code == 200
    return r.content.decode()


def ended(make_batch: MakeBatch) -> Batch:
    """A batch that has ended, with an answer and a failed request."""
    batch = rows.running(make_batch, total=2)
    rows.answer(batch, [rows.chat("yes")], failed=[rows.CONTEXT_ERROR])
    now = batch.created_at
    Batch.objects.filter(pk=batch.pk).update(
        status="completed", closing_reason="done", closed_at=now, completed_at=now
    )
    batch.refresh_from_db()
    return batch


def test_what_nothing_takes_back_is_asked_first(
    admin: Client, make_batch: MakeBatch, team: Team, owner: User
) -> None:
    batch = rows.running(make_batch, name="<b>night\x07ly")
    engine = rows.managed()
    create_api_key(team=team, user=owner, name="nightly")
    key = ApiKey.objects.get()
    sent = make_delivery(make_endpoint(team), state="delivered")
    before = AuditEvent.objects.count()
    for table, action, row, button in (
        ("jobs/batch", "cancel", batch.pk, "Cancel these batches"),
        ("jobs/batch", "retry_failed", batch.pk, "Run them again"),
        ("jobs/batch", "tag", batch.pk, "Add the tag"),
        ("jobs/engine", "drain", engine.pk, "Drain these engines"),
        ("jobs/engine", "restart", engine.pk, "Restart these engines"),
        ("accounts/apikey", "revoke", key.pk, "Revoke these keys"),
        ("jobs/webhookdelivery", "redeliver", sent.pk, "Send them again"),
    ):
        page = act(admin, table, action, row)
        assert button in page, action
        assert f'name="_selected_action" value="{row}"' in page
        assert "Change nothing" in page
    # Nothing happened, and names are shown as what they are: text.
    assert AuditEvent.objects.count() == before
    batch.refresh_from_db()
    assert batch.status == "in_progress"
    page = act(admin, "jobs/batch", "cancel", batch.pk)
    assert "&lt;b&gt;night\N{REPLACEMENT CHARACTER}ly" in page


def test_failed_requests_run_again_as_a_child(
    admin: Client, staff: User, make_batch: MakeBatch
) -> None:
    batch, young = ended(make_batch), rows.running(make_batch)

    page = act(admin, "jobs/batch", "retry_failed", batch.pk, young.pk, sure="yes")

    child = batch.children.get()
    assert "1 batch was run again in part." in page
    assert f"{young.public_id}: no request of an ended batch failed" in page
    assert (child.owner, child.team) == (staff, batch.team)
    noted = AuditEvent.objects.get(action="batch.retry")
    assert (noted.actor, noted.target) == (staff, batch.public_id)
    assert (noted.address, noted.data) == ("127.0.0.1", {"child": child.public_id})


def test_a_tag_is_added_once(admin: Client, make_batch: MakeBatch) -> None:
    batch = rows.running(make_batch, tags=["a"])
    for _ in range(2):
        page = act(admin, "jobs/batch", "tag", batch.pk, sure="yes", line=" late ")
        assert "1 batch was tagged." in page
    batch.refresh_from_db()
    assert batch.tags == ["a", "late"]
    assert AuditEvent.objects.filter(action="batch.update").count() == 1
    page = act(admin, "jobs/batch", "tag", batch.pk, sure="yes", line=" ")
    assert "Write a tag of 1 to 50 characters." in page


def test_batches_are_deleted_and_restored(admin: Client, make_batch: MakeBatch) -> None:
    batch, young = ended(make_batch), rows.running(make_batch)
    both = (batch.pk, young.pk)

    assert "Delete these batches" in act(admin, "jobs/batch", "put_away", *both)
    page = act(admin, "jobs/batch", "put_away", *both, sure="yes")

    assert "1 batch was deleted." in page
    assert f"{young.public_id}: Cannot delete a batch" in page
    deleted = admin.get("/admin/jobs/batch/?deleted_at__isempty=0").content.decode()
    assert batch.public_id in deleted
    assert young.public_id not in deleted
    assert "1 batch was restored." in act(admin, "jobs/batch", "restore", *both)
    assert Batch.objects.kept().count() == 2


def test_actions_need_the_right_to_change(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    User.objects.filter(pk=owner.pk).update(is_staff=True)
    client.force_login(owner)
    given = {"action": "cancel", "_selected_action": [batch.pk], "sure": "yes"}
    assert client.post("/admin/jobs/batch/", given).status_code == 403
    batch.refresh_from_db()
    assert batch.status == "in_progress"


def test_a_restart_goes_to_the_host(admin: Client, staff: User) -> None:
    engine = rows.managed()
    assert "Restarted: gpu0." in act(
        admin, "jobs/engine", "restart", engine.pk, sure="yes"
    )
    assert Engine.objects.get().restart_of == engine.generation
    assert AuditEvent.objects.get(action="engine.restart").actor == staff
