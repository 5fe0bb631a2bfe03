# SPDX-License-Identifier: Apache-2.0
"""Deleted batches: out of sight, restored whole, and removed without a trace."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks
from rest_framework.test import APIClient

from batchsite.accounts.models import AuditEvent, Team, User
from jobs import removal, usage
from jobs.chores import do_chore
from jobs.models import (
    Batch,
    BatchEvent,
    BatchFile,
    BatchRequest,
    ThroughputSample,
    Usage,
)
from jobs.refusals import NotNow
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import api_client, error_of
from tests.web import rows

from .kept import stored_files
from .rows import external_engine
from .webhook_rows import make_delivery, make_endpoint

pytestmark = pytest.mark.django_db
Capture = DjangoCaptureOnCommitCallbacks


@pytest.fixture
def ended(make_batch: MakeBatch, make_file: MakeFile, team: Team) -> Batch:
    """A batch that has ended, with a row of everything that belongs to one."""
    report = default_storage.save("reports/one", ContentFile(b"{}"))
    batch = make_batch(status="in_progress", total=3, error_report=report)
    rows.answer(batch, [rows.chat("a"), rows.chat("b")], failed=["http_400"])
    original = batch.requests.get(index=0)
    BatchRequest.objects.filter(batch=batch, index=1).update(
        duplicate_of=original, run_order=None
    )
    Batch.objects.filter(pk=batch.pk).update(
        status="completed",
        closing_reason="done",
        closed_at=timezone.now(),
        output_file=make_file(b"out\n", purpose="batch_output"),
        error_file=make_file(b"bad\n", purpose="batch_output"),
    )
    event = BatchEvent.objects.create(batch=batch, kind="progress", message="half")
    make_delivery(make_endpoint(team), batch=batch, event=event)
    ThroughputSample.objects.create(
        batch=batch,
        engine=external_engine(),
        at=timezone.now(),
        rows=3,
        input_tokens=0,
        output_tokens=10,
        seconds=10,
    )
    usage.run()
    batch.refresh_from_db()
    return batch


def owned(batch: Batch) -> dict[str, int]:
    """How many rows of each kind name the batch, or something that does."""
    found = {}
    for model in apps.get_app_config("jobs").get_models():
        fields = [f for f in model._meta.fields if f.related_model is Batch]
        for field in fields:
            name = f"{model.__name__}.{field.name}"
            found[name] = model._default_manager.filter(**{field.name: batch}).count()
    return {name: count for name, count in found.items() if count}


def over(batch: Batch) -> None:
    """Let the batch's time be over."""
    moment = timezone.now() - timedelta(seconds=1)
    Batch.objects.filter(pk=batch.pk).update(remove_at=moment)


def test_a_deleted_batch_is_gone_and_comes_back_whole(
    ended: Batch, owner: User, api: APIClient
) -> None:
    before = owned(ended)
    removal.delete_batch(batch=ended, user=owner, address="192.0.2.1")
    assert not Batch.objects.visible_to(owner).exists()
    code = ended.public_id
    for path in ("", "/results", "/events", "/validation_errors"):
        assert error_of(api.get(f"/v1/batches/{code}{path}"))[0] == 404
    for path in ("", "/cancel", "/retry"):
        assert error_of(api.post(f"/v1/batches/{code}{path}"))[0] == 404
    assert api.get("/v1/batches").json()["data"] == []
    assert do_chore("deleted batches") == "0 deleted batches removed"
    removal.restore_batch(batch=ended, user=owner)
    assert api.get(f"/v1/batches/{code}").json()["status"] == "completed"
    assert owned(ended) == before | {"BatchEvent.batch": before["BatchEvent.batch"] + 2}
    kinds = list(ended.events.order_by("pk").values_list("kind", "message"))[-2:]
    words = f"asked for by {owner}"
    assert kinds == [("deleted", words), ("restored", words)]
    told = AuditEvent.objects.filter(target=code).order_by("pk")
    assert list(told.values_list("action", "address")) == [
        ("batch.delete", "192.0.2.1"),
        ("batch.restore", None),
    ]


@pytest.mark.parametrize("status", Batch.ACTIVE)
def test_what_has_not_ended_is_not_deleted(
    make_batch: MakeBatch, status: str, owner: User
) -> None:
    batch = make_batch(status=status)
    with pytest.raises(NotNow, match=f"'{status}': cancel it first"):
        removal.delete_batch(batch=batch, user=owner)
    assert Batch.objects.visible_to(owner).get() == batch
    assert not batch.events.exists()


def test_deleting_and_restoring_twice_is_once(ended: Batch, owner: User) -> None:
    first = removal.delete_batch(batch=ended, user=owner)
    again = removal.delete_batch(batch=ended, user=None)
    assert (again.remove_at, again.deleted_by) == (first.remove_at, owner)
    for _ in range(2):
        removal.restore_batch(batch=ended, user=owner)
    assert ended.events.filter(kind__in=["deleted", "restored"]).count() == 2


def test_nothing_is_left_when_the_time_is_over(
    ended: Batch,
    owner: User,
    data_folder: Path,
    make_batch: MakeBatch,
    django_capture_on_commit_callbacks: Capture,
) -> None:
    child = make_batch(parent=ended, status="completed")
    removal.delete_batch(batch=ended, user=owner)
    over(ended)
    with pytest.raises(NotNow, match="being removed"):
        removal.restore_batch(batch=ended, user=owner)
    input_file = ended.input_file
    assert input_file
    with django_capture_on_commit_callbacks(execute=True):
        assert do_chore("deleted batches") == "1 deleted batches removed"
    assert not Batch.objects.filter(pk=ended.pk).exists()
    assert owned(ended) == {}
    # What it was made of stays, and what was made of it.
    child.refresh_from_db()
    assert child.parent is None
    assert child.input_file
    kept = {input_file.storage_name, child.input_file.storage_name}
    assert {path.name for path in stored_files(data_folder)} == {
        name.rpartition("/")[2] for name in kept
    }
    gone = BatchFile.objects.filter(purpose="batch_output")
    assert [file.deleted_at is None for file in gone] == [False, False]
    # What it used is still counted.
    assert Usage.objects.get().answered == 2
    assert AuditEvent.objects.filter(action="batch.removed").exists()


def test_a_removal_goes_on_where_it_stopped(
    ended: Batch, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "REQUESTS_AT_ONCE", 1)
    removal.delete_batch(batch=ended, user=owner)
    removal.remove_at_once(batch=ended, user=owner)
    looks = iter([0.0, 0.0, 0.0, 99.0])
    with monkeypatch.context() as patched:
        patched.setattr("jobs.removal.monotonic", lambda: next(looks, 99.0))
        assert removal.run(seconds=45) == "0 deleted batches removed"
    # From the end, so that no copy lost its original.
    assert list(ended.requests.values_list("index", flat=True)) == [0]
    assert Batch.objects.filter(pk=ended.pk).exists()
    assert removal.run() == "1 deleted batches removed"
    assert owned(ended) == {}


def test_use_is_counted_before_a_batch_goes(ended: Batch, owner: User) -> None:
    Batch.objects.filter(pk=ended.pk).update(usage_open=True)
    removal.delete_batch(batch=ended, user=owner)
    over(ended)
    assert not removal.wanted()
    usage.run()
    assert removal.wanted()


def test_only_what_is_deleted_is_removed(ended: Batch, owner: User) -> None:
    with pytest.raises(NotNow, match="delete it first"):
        removal.remove_at_once(batch=ended, user=owner)
    assert not removal.wanted()


def test_the_api_deletes_and_restores(
    ended: Batch, make_batch: MakeBatch, api: APIClient
) -> None:
    code = ended.public_id
    answer = api.delete(f"/v1/batches/{code}")
    assert answer.json() == {"id": code, "object": "batch", "deleted": True}
    assert error_of(api.delete(f"/v1/batches/{code}"))[0] == 404
    restored = api.post(f"/v1/batches/{code}/restore")
    assert restored.json()["id"] == code
    assert api.post(f"/v1/batches/{code}/restore").json()["id"] == code
    running = make_batch(status="in_progress", total=2)
    refused = api.delete(f"/v1/batches/{running.public_id}")
    assert refused.status_code == 409
    assert "cancel it first" in refused.json()["error"]["message"]
    api.delete(f"/v1/batches/{code}")
    over(ended)
    assert error_of(api.post(f"/v1/batches/{code}/restore"))[0] == 409


def test_a_stranger_neither_deletes_nor_restores(
    ended: Batch, stranger: User, other_team: Team, owner: User
) -> None:
    foreign = api_client(stranger, other_team)
    code = ended.public_id
    assert error_of(foreign.delete(f"/v1/batches/{code}"))[0] == 404
    removal.delete_batch(batch=ended, user=owner)
    assert error_of(foreign.post(f"/v1/batches/{code}/restore"))[0] == 404
    ended.refresh_from_db()
    assert ended.deleted_at
