# SPDX-License-Identifier: Apache-2.0
"""What goes by itself, and above all what does not."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks
from rest_framework.test import APIClient

from batchsite.accounts.installation import ensure_row
from batchsite.accounts.models import AuditEvent, Installation, Team
from jobs import expiry
from jobs.chores import do_chore
from jobs.models import BatchFile, Upload, UploadPart
from jobs.submit import create_batch
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import error_of
from tests.jobs.kept import stored_files

DAY = 24 * 3600


def ago(seconds: float) -> dict[str, object]:
    """The column of a file whose time was over so long ago."""
    return {"expires_at": timezone.now() - timedelta(seconds=seconds)}


def aged(name: str, seconds: float) -> str:
    """Bytes in the storage under that name, last written so long ago."""
    name = default_storage.save(name, ContentFile(b"x"))
    moment = time.time() - seconds
    os.utime(default_storage.path(name), (moment, moment))
    return name


def test_an_expired_file_is_invisible_at_once(
    api: APIClient, make_file: MakeFile, team: Team
) -> None:
    gone, kept = make_file(**ago(1)), make_file(**ago(-60))
    for r in (
        api.get(f"/v1/files/{gone.public_id}"),
        api.get(f"/v1/files/{gone.public_id}/content"),
        api.delete(f"/v1/files/{gone.public_id}"),
    ):
        assert error_of(r) == (404, "id", None)
    listed = api.get("/v1/files").json()["data"]
    assert [file["id"] for file in listed] == [kept.public_id]
    # Its id stays a cursor of the list, and no batch can begin with it.
    assert api.get(f"/v1/files?after={gone.public_id}&order=asc").status_code == 200
    batch = create_batch(
        team=team,
        user=None,
        input_file_id=gone.public_id,
        endpoint="/v1/embeddings",
    )
    assert batch.input_file is None


def test_the_bytes_of_expired_files_go_and_the_log_says_so(
    make_file: MakeFile,
    make_batch: MakeBatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    old = [make_file(**ago(120)), make_file(purpose="batch_output", **ago(3600))]
    batch = make_batch(status="completed", output_file=old[1])
    kept = [make_file(**ago(-60)), make_file(**ago(10)), make_file()]
    assert expiry.files_to_remove()
    with django_capture_on_commit_callbacks(execute=True):
        assert do_chore("expired files") == "2 expired files removed"
    assert not expiry.files_to_remove()
    assert not any(default_storage.exists(file.storage_name) for file in old)
    assert all(default_storage.exists(file.storage_name) for file in kept)
    events = AuditEvent.objects.filter(action="file.expire").order_by("pk")
    assert [event.target for event in events] == [file.public_id for file in old]
    assert {event.actor for event in events} == {None}
    # The batch goes on naming its output.
    batch.refresh_from_db()
    assert batch.output_file == old[1]
    assert do_chore("expired files") == "0 expired files removed"


def test_the_input_of_a_batch_stays_until_it_was_read(
    make_file: MakeFile,
    make_batch: MakeBatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    file = make_file(**ago(120))
    done = make_batch(input_file=file, status="completed")
    batch = make_batch(input_file=file)
    assert not expiry.files_to_remove()
    assert expiry.remove_expired_files() == "0 expired files removed"
    assert default_storage.exists(file.storage_name)
    batch.delete()
    with django_capture_on_commit_callbacks(execute=True):
        assert expiry.remove_expired_files() == "1 expired files removed"
    assert done.input_file_ref == file.public_id


def test_a_turn_ends_in_time_and_the_next_goes_on(make_file: MakeFile) -> None:
    for _ in range(3):
        make_file(**ago(120))
    assert expiry.remove_expired_files(seconds=0) == "0 expired files removed"
    assert expiry.remove_expired_files() == "3 expired files removed"


@pytest.fixture
def make_upload(team: Team) -> Upload:
    now = timezone.now()
    upload = Upload.objects.create(
        team=team,
        filename="a.jsonl",
        purpose="batch",
        mime_type="x",
        bytes=10,
        expires_at=now + timedelta(hours=1),
    )
    for number in "12":
        name = default_storage.save(f"parts/{number}", ContentFile(b"12345"))
        UploadPart.objects.create(
            upload=upload, bytes=5, sha256=number, storage_name=name
        )
    return upload


def test_an_upload_past_its_hour_expires_with_its_parts(
    make_upload: Upload,
    data_folder: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    assert not expiry.uploads_to_expire()
    assert expiry.expire_uploads() == "0 uploads expired"
    Upload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert expiry.uploads_to_expire()
    with django_capture_on_commit_callbacks(execute=True):
        assert do_chore("overdue uploads") == "1 uploads expired"
    make_upload.refresh_from_db()
    assert make_upload.status == "expired"
    assert not UploadPart.objects.exists()
    assert not stored_files(data_folder)
    assert not expiry.uploads_to_expire()


@pytest.fixture
def old_site(db: None) -> None:
    """A database that was set up ten days ago."""
    ensure_row()
    born = timezone.now() - timedelta(days=10)
    Installation.objects.update(created_at=born)


def test_bytes_that_no_row_names_go_after_a_day(
    make_file: MakeFile, make_batch: MakeBatch, make_upload: Upload, old_site: None
) -> None:
    old = 2 * DAY
    report = aged("reports/ab/batch_1-report-1", old)
    batch = make_batch(
        status="failed", public_id="batch_1", error_report="reports/ab/batch_1-report-1"
    )
    assert batch.error_report == report
    deleted = make_file(deleted_at=timezone.now())
    expired = make_file(**ago(old))
    named = [*BatchFile.objects.filter(deleted_at=None), *UploadPart.objects.all()]
    two_days_ago = time.time() - old
    for row in (*named, deleted):
        path = default_storage.path(row.storage_name)
        os.utime(path, (two_days_ago, two_days_ago))
    orphans = [
        aged("uploads/ab/orphan", old),
        aged("uploads/flat", old),
        aged("parts/cd/orphan", old),
        aged("results/ef/batch_2-output-3", old),
        aged("reports/ab/batch_1-report-2", old),
        deleted.storage_name,
    ]
    kept = [
        report,
        expired.storage_name,
        *(row.storage_name for row in named),
        aged("uploads/ab/fresh", DAY - 60),
        aged("elsewhere/old", old),
    ]
    assert do_chore("unnamed bytes") == "6 files that nobody names removed"
    assert [name for name in orphans if default_storage.exists(name)] == []
    assert [name for name in kept if not default_storage.exists(name)] == []
    assert expiry.sweep_storage() == "0 files that nobody names removed"


def test_a_new_database_costs_no_old_files(db: None) -> None:
    """Somebody started the site with the files of another database."""
    name = aged("uploads/ab/of-the-real-database", 30 * DAY)
    assert expiry.sweep_storage() == "0 files that nobody names removed"
    assert default_storage.exists(name)


def test_a_site_without_files_has_nothing_to_sweep(db: None) -> None:
    assert expiry.sweep_storage() == "0 files that nobody names removed"
