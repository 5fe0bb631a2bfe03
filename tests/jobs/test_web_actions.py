# SPDX-License-Identifier: Apache-2.0
"""Cancelling and downloading in the browser."""

from __future__ import annotations

import pytest
from django.test import Client

from batchsite.accounts.models import AuditEvent, User
from jobs.file_store import delete_file
from jobs.models import Batch, BatchEvent
from tests.conftest import MakeBatch, MakeFile
from tests.web import rows


def test_a_member_cancels_a_batch(
    client: Client, teammate: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    client.force_login(teammate)

    r = client.post(f"/batches/{batch.public_id}/cancel/", follow=True)

    batch.refresh_from_db()
    assert batch.status == "cancelling"
    assert r.redirect_chain == [(f"/batches/{batch.public_id}/", 302)]
    assert "being cancelled" in r.content.decode()
    assert (
        BatchEvent.objects.get(batch=batch).message
        == "asked for by teammate@example.com"
    )
    assert AuditEvent.objects.get(action="batch.cancel").target == batch.public_id


def test_cancelling_twice_changes_nothing(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    client.force_login(owner)

    for _ in range(2):
        r = client.post(f"/batches/{batch.public_id}/cancel/")
        assert r.status_code == 302

    assert BatchEvent.objects.filter(batch=batch).count() == 1
    assert AuditEvent.objects.filter(action="batch.cancel").count() == 1


@pytest.mark.parametrize(
    "status", [Batch.Status.COMPLETED, Batch.Status.FAILED, Batch.Status.FINALIZING]
)
def test_too_late_to_cancel_is_said(
    client: Client, owner: User, make_batch: MakeBatch, status: str
) -> None:
    batch = make_batch(status=status)
    client.force_login(owner)

    r = client.post(f"/batches/{batch.public_id}/cancel/", follow=True)

    batch.refresh_from_db()
    assert batch.status == status
    assert f"Nothing to cancel: the batch is {status}." in r.content.decode()
    assert not AuditEvent.objects.filter(action="batch.cancel").exists()


def test_cancel_takes_a_post_of_somebody_who_may(
    client: Client, stranger: User, viewer: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    address = f"/batches/{batch.public_id}/cancel/"

    assert client.post(address)["Location"] == f"/login/?next={address}"
    client.force_login(stranger)
    assert client.get(address).status_code == 405
    assert client.post(address).status_code == 404
    client.force_login(viewer)
    refused = client.post(address)
    assert refused.status_code == 403
    assert "Viewers of a team only read." in refused.content.decode()
    batch.refresh_from_db()
    assert batch.status == "in_progress"


def test_a_viewers_cancel_button_is_off_and_says_why(
    client: Client, viewer: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    client.force_login(viewer)

    page = client.get(f"/batches/{batch.public_id}/").content.decode()

    assert 'disabled title="Viewers of a team cannot cancel its batches."' in page
    assert "/cancel/" not in page


def test_a_batch_is_paused_and_resumed_once_each(
    client: Client, teammate: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    address = f"/batches/{batch.public_id}/"
    client.force_login(teammate)
    assert f"{address}pause/" in client.get(address).content.decode()

    for _ in range(2):
        r = client.post(f"{address}pause/", follow=True)
    assert r.redirect_chain == [(address, 302)]
    page = r.content.decode()
    assert "The batch is paused: what is in flight ends" in page
    assert f"{address}resume/" in page
    assert f"{address}pause/" not in page
    for _ in range(2):
        r = client.post(f"{address}resume/", follow=True)
    assert "The batch goes on." in r.content.decode()

    batch.refresh_from_db()
    assert not batch.paused
    assert list(batch.events.values_list("kind", flat=True)) == ["paused", "resumed"]


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_who_may_pause_and_when(
    client: Client, viewer: User, stranger: User, owner: User, make_batch: MakeBatch, verb: str
) -> None:  # fmt: skip
    batch = make_batch(status=Batch.Status.COMPLETED, paused=verb == "resume")
    address = f"/batches/{batch.public_id}/{verb}/"

    assert client.post(address)["Location"] == f"/login/?next={address}"
    client.force_login(stranger)
    assert client.get(address).status_code == 405
    assert client.post(address).status_code == 404
    client.force_login(viewer)
    assert client.post(address).status_code == 403
    client.force_login(owner)
    r = client.post(address, follow=True)
    assert f"Nothing to {verb}: the batch is completed." in r.content.decode()
    assert not BatchEvent.objects.filter(batch=batch).exists()


def test_a_pause_by_somebody_else_arrives_with_the_poll(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch, paused=True)
    client.force_login(owner)

    r = client.get(
        f"/batches/{batch.public_id}/?was=in_progress&failed=0&seq=0",
        headers={"hx-request": "true"},
    )

    assert f"/batches/{batch.public_id}/resume/" in r.content.decode()


def test_cancel_needs_the_csrf_token(owner: User, make_batch: MakeBatch) -> None:
    batch = rows.running(make_batch)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner)

    assert strict.post(f"/batches/{batch.public_id}/cancel/").status_code == 403


def test_a_file_downloads_and_is_never_rendered(
    client: Client, viewer: User, make_file: MakeFile
) -> None:
    file = make_file(b"<script>alert(1)</script>", filename='a/../"b.html')
    client.force_login(viewer)

    r = client.get(f"/files/{file.public_id}/download/")

    assert b"".join(r.streaming_content) == b"<script>alert(1)</script>"  # type: ignore[attr-defined]  # a FileResponse
    assert r["Content-Disposition"].startswith("attachment")
    assert "/" not in r["Content-Disposition"]
    assert r["Content-Type"] == "application/jsonl"
    assert r["X-Content-Type-Options"] == "nosniff"


def test_foreign_and_deleted_files_are_not_there(
    client: Client, owner: User, stranger: User, make_file: MakeFile
) -> None:
    file = make_file()
    address = f"/files/{file.public_id}/download/"
    client.force_login(stranger)
    assert client.get(address).status_code == 404

    client.force_login(owner)
    delete_file(file=file, user=owner)
    assert client.get(address).status_code == 404
    assert client.post(address).status_code == 405


def test_a_file_whose_bytes_are_gone_is_not_there(
    client: Client, owner: User, make_file: MakeFile
) -> None:
    file = make_file(storage_name="gone")
    client.force_login(owner)

    assert client.get(f"/files/{file.public_id}/download/").status_code == 404
