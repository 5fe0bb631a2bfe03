# SPDX-License-Identifier: Apache-2.0
"""A disk that is nearly full: uploads are refused, stages wait and go on by themselves.

Nearly full is made by the limit: no disk has so much free.
"""

from __future__ import annotations

import errno
import sqlite3
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from batchsite.accounts.models import Team
from jobs import attendance, disks, file_store, stages
from jobs.models import Batch, BatchFile, ServedModel, Upload, WorkerProcess
from jobs.recording import record
from jobs.uploads import SpooledUpload
from tests.conftest import MakeBatch
from tests.described import check
from tests.inputs import chat_lines

from .rows import answer, claim_next, external_engine, running_batch
from .test_output import FullDisk

pytestmark = pytest.mark.django_db
MORE_THAN_ANY_DISK = 10**18


@pytest.fixture
def full(settings: Settings) -> Settings:
    """No disk has room."""
    settings.BATCHSITE_MIN_FREE_BYTES = MORE_THAN_ANY_DISK
    return settings


def stored(folder: Path) -> list[Path]:
    """Every file of storage and spool."""
    found = [*(folder / "files").rglob("*"), *(folder / "spool").rglob("*")]
    return [path for path in found if path.is_file()]


def upload(api: APIClient) -> Any:
    file = BytesIO(chat_lines(2))
    file.name = "in.jsonl"
    return api.post("/v1/files", {"file": file, "purpose": "batch"})


def test_each_disk_is_read_once_and_before_its_folder_exists(
    settings: Settings, data_folder: Path
) -> None:
    (disk,) = disks.read()
    assert disk.name == "the data folder"
    assert disk.free
    settings.SPOOL_DIR = Path("/dev/shm/batchsite-spool")
    assert [disk.name for disk in disks.read()] == ["the data folder", "the spool"]
    settings.SPOOL_DIR = Path("/proc/1/root/x\0y")
    data_folder.parent.mkdir(exist_ok=True)
    assert disks.read()[0].free


def test_an_upload_must_leave_enough_free(settings: Settings) -> None:
    (disk,) = disks.read()
    assert disk.free is not None
    settings.BATCHSITE_MIN_FREE_BYTES = disk.free // 2
    assert disks.shortage() == ""
    assert "GB must stay free" in disks.shortage(more=disk.free * 3 // 4)
    settings.BATCHSITE_MIN_FREE_BYTES = 0
    assert disks.shortage(more=MORE_THAN_ANY_DISK) == ""


def test_uploads_are_refused_in_openais_shape_and_nothing_stays(
    api: APIClient, full: Settings, data_folder: Path
) -> None:
    r = upload(api)
    check(r)
    assert r.status_code == 503
    error = r.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "insufficient_storage")
    assert "the disk of the data folder has " in error["message"]
    # OpenAI's clients would send the file twice more at once.
    assert r["x-should-retry"] == "false"
    assert stored(data_folder) == []
    full.BATCHSITE_MIN_FREE_BYTES = 0
    assert upload(api).status_code == 200


def test_uploads_in_parts_are_refused_at_each_step(
    api: APIClient, full: Settings
) -> None:
    wanted = {"filename": "a.jsonl", "purpose": "batch", "bytes": 9}
    wanted["mime_type"] = "application/jsonl"

    def asked() -> list[int]:
        begun = api.post("/v1/uploads", wanted, format="json")
        parts = api.post(f"{path}/parts", {"data": BytesIO(b'{"a": 1}\n')})
        ended = api.post(f"{path}/complete", {"part_ids": ids}, format="json")
        answers = [begun, parts, ended]
        for r in answers:
            check(r)
        return [r.status_code for r in answers]

    path, ids = "/v1/uploads/upload_none", [""]
    assert asked()[0] == 503
    assert not Upload.objects.exists()
    full.BATCHSITE_MIN_FREE_BYTES = 0
    path = f"/v1/uploads/{api.post('/v1/uploads', wanted, format='json').json()['id']}"
    part = api.post(f"{path}/parts", {"data": BytesIO(b'{"a": 1}\n')})
    ids = [part.json()["id"]]
    full.BATCHSITE_MIN_FREE_BYTES = MORE_THAN_ANY_DISK
    assert asked() == [503, 503, 503]
    # What was sent is kept for when there is room.
    full.BATCHSITE_MIN_FREE_BYTES = 0
    ended = api.post(f"{path}/complete", {"part_ids": ids}, format="json")
    assert ended.json()["status"] == "completed"


def test_a_disk_that_is_full_in_the_middle_is_no_mistake_of_the_server(
    api: APIClient,
    settings: Settings,
    data_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    default = settings.STORAGES["default"]
    broken = {**default, "BACKEND": "tests.jobs.test_output.FullDisk"}
    settings.STORAGES = {**settings.STORAGES, "default": broken}
    monkeypatch.setattr(FullDisk, "room", 0)
    # Nothing is moved there: the storage's disk is another one than the spool's.
    monkeypatch.delattr(SpooledUpload, "temporary_file_path")
    r = upload(api)
    check(r)
    assert r.status_code == 503
    assert r.json()["error"]["code"] == "insufficient_storage"
    assert not BatchFile.objects.exists()
    assert stored(data_folder) == []


def test_forms_are_refused_too(team: Team, full: Settings) -> None:
    sent = SimpleUploadedFile("in.jsonl", chat_lines(1))
    with pytest.raises(disks.NoRoom, match="too little disk space"):
        file_store.store_upload(team=team, user=None, upload=sent, purpose="batch")


def test_a_retry_is_refused(
    api: APIClient, make_batch: MakeBatch, full: Settings
) -> None:
    batch = running_batch(make_batch)
    Batch.objects.filter(pk=batch.pk).update(
        status="completed",
        closed_at=batch.created_at,
        closing_reason="done",
        failed=3,
        result_seq=3,
    )
    r = api.post(f"/v1/batches/{batch.public_id}/retry", {}, format="json")
    check(r)
    assert r.status_code == 503


def test_intake_waits_in_words_and_goes_on_by_itself(
    make_batch: MakeBatch, full: Settings, data_folder: Path
) -> None:
    ServedModel.objects.create(name="tiny")
    batch = make_batch()
    for _ in range(3):
        assert stages.attend_batch(batch.pk) == "waits for disk space"
    batch.refresh_from_db()
    assert batch.status == Batch.Status.VALIDATING
    assert (batch.stage_owner, batch.stage_lease_expires_at) == ("", None)
    event = batch.events.get()
    assert event.kind == "stage_waits"
    assert event.message.startswith("the disk of the data folder has ")
    assert list((data_folder / "spool").glob("intake-*")) == []
    full.BATCHSITE_MIN_FREE_BYTES = 0
    stages.attend_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.status == Batch.Status.IN_PROGRESS
    assert batch.total == 2


def test_files_wait_too_and_a_cancelled_batch_can_still_be_cancelled(
    make_batch: MakeBatch, full: Settings
) -> None:
    engine = external_engine()
    batch = running_batch(make_batch, chunks=[1])
    claim = claim_next(engine)
    assert claim is not None
    record(claim.lease, [answer(claim, 0)], with_copies=False, finished=True)
    assert stages.attend_batch(batch.pk) == "waits for disk space"
    batch.refresh_from_db()
    assert batch.status == Batch.Status.FINALIZING
    assert not BatchFile.objects.filter(purpose="batch_output").exists()
    full.BATCHSITE_MIN_FREE_BYTES = 0
    stages.attend_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.status == Batch.Status.COMPLETED
    kinds = list(batch.events.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["status", "stage_waits", "status"]


def test_a_batch_whose_time_is_over_does_not_wait_for_room_to_run(
    make_batch: MakeBatch, full: Settings
) -> None:
    ago = timezone.now() - timedelta(hours=2)
    batch = make_batch(created_at=ago, expires_at=ago + timedelta(hours=1))
    stages.attend_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.status == Batch.Status.EXPIRED


def test_control_workers_tell_of_it(full: Settings) -> None:
    duty = attendance.ControlDuty()
    duty.show()
    assert "must stay free" in WorkerProcess.objects.get().trouble
    full.BATCHSITE_MIN_FREE_BYTES = 0
    duty.show()
    assert WorkerProcess.objects.get().trouble == ""


def caused(cause: Exception) -> OperationalError:
    error = OperationalError("no")
    error.__cause__ = cause
    return error


def test_full_disks_of_databases_are_known() -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert disks.is_full(caused(full))
    assert disks.is_full(caused(psycopg.errors.DiskFull("no space left")))
    assert disks.is_full(OSError(errno.EDQUOT, "quota"))
    assert not disks.is_full(caused(sqlite3.OperationalError("locked")))
    assert not disks.is_full(OSError(errno.EACCES, "denied"))
    assert not disks.is_full(ValueError("full"))
