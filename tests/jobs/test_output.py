# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import OperationalError, connection
from pytest_django import Settings

from jobs import lifecycle, output, stages
from jobs.models import Batch, BatchFile, Chunk, Engine
from jobs.recording import record
from tests.conftest import MakeBatch

from .rows import answer, claim_next, counts_match, external_engine, running_batch

pytestmark = pytest.mark.django_db
Status = Batch.Status


@pytest.fixture
def engine(db: None) -> Engine:
    return external_engine()


def lines(file: BatchFile | None) -> list[dict[str, Any]]:
    assert file is not None
    with default_storage.open(file.storage_name) as stream:
        content = stream.read()
    assert len(content) == file.bytes
    assert content.count(b"\n") == file.lines
    return [json.loads(row) for row in content.splitlines()]


def attend(batch: Batch) -> Batch:
    stages.attend_batch(batch.pk)
    batch.refresh_from_db()
    return batch


def test_a_finished_batch_gets_an_output_and_an_error_file(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[3], copies=1)
    claim = claim_next(engine)
    assert claim is not None
    refused = '{"error": {"message": "too long", "code": 400}}'
    record(
        claim.lease,
        [
            answer(claim, 2, body='{\n  "a": "\\u0000 \\ud800",\r\n "b": 1.50}'),
            answer(claim, 0, engine_request_id="req-1"),
            answer(claim, 1, outcome="failed", status_code=400, body=refused),
        ],
        with_copies=True,
        finished=True,
    )
    attend(batch)
    assert batch.status == Status.COMPLETED
    good = lines(batch.output_file)
    assert [row["custom_id"] for row in good] == ["r0", "r2", "copy0"]
    assert good[0]["response"] == {
        "status_code": 200,
        "request_id": "req-1",
        "body": {"id": "x", "choices": []},
    }
    assert good[0]["error"] is None
    # The engine named none of the others: they have an id of ours, always the same.
    ours = good[1]["response"]["request_id"]
    assert ours == good[1]["id"].replace("batch_req_", "req_")
    assert good[1]["response"]["body"]["a"] == "\0 \ud800"
    assert len({row["id"] for row in good}) == 3
    assert all(row["id"].startswith("batch_req_") for row in good)
    (bad,) = lines(batch.error_file)
    assert (bad["custom_id"], bad["error"]) == ("r1", None)
    assert bad["response"]["status_code"] == 400
    assert bad["response"]["body"]["error"]["message"] == "too long"
    assert batch.output_file is not None
    assert batch.output_file.purpose == "batch_output"
    assert batch.stage_owner == ""


def test_a_batch_without_failures_has_no_error_file(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[1])
    claim = claim_next(engine)
    assert claim is not None
    record(claim.lease, [answer(claim, 0)], with_copies=False, finished=True)
    attend(batch)
    assert (batch.status, batch.error_file) == (Status.COMPLETED, None)


def test_a_cancelled_batch_keeps_what_finished(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[2, 2], copies=1)
    claim = claim_next(engine)
    assert claim is not None
    record(claim.lease, [answer(claim, 0)], with_copies=False, finished=False)
    lifecycle.cancel(batch)
    # A request may be in flight: the chunk is leased, so closing waits.
    assert attend(batch).status == Status.CANCELLING
    Chunk.objects.filter(pk=claim.lease.chunk).update(
        lease_expires_at="2000-01-01T00:00:00Z"
    )
    attend(batch)
    assert batch.status == Status.CANCELLED
    assert [row["custom_id"] for row in lines(batch.output_file)] == ["r0", "copy0"]
    errors = lines(batch.error_file)
    assert [row["custom_id"] for row in errors] == ["r1", "r2", "r3"]
    assert {row["error"]["code"] for row in errors} == {"batch_cancelled"}
    assert all(row["response"] is None for row in errors)
    assert counts_match(batch)
    assert batch.remaining == 0
    assert not batch.chunks.open().exists()


def test_a_batch_past_its_deadline_expires_with_what_it_has(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[2])
    claim = claim_next(engine)
    assert claim is not None
    record(claim.lease, [answer(claim, 1)], with_copies=False, finished=False)
    Batch.objects.filter(pk=batch.pk).update(
        created_at="2000-01-01T00:00:00Z", expires_at="2000-01-02T00:00:00Z"
    )
    Chunk.objects.update(lease_expires_at="2000-01-01T00:00:00Z")
    attend(batch)
    assert batch.status == Status.EXPIRED
    assert batch.expired_at is not None
    (bad,) = lines(batch.error_file)
    assert bad["error"] == {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    }
    assert [row["custom_id"] for row in lines(batch.output_file)] == ["r1"]


def test_a_batch_that_is_done_without_all_answers_ends_with_errors(
    make_batch: MakeBatch,
) -> None:
    batch = running_batch(make_batch, chunks=[2])
    Chunk.objects.update(state=Chunk.State.DONE)
    assert attend(batch).status == Status.COMPLETED
    assert (batch.completed, batch.failed) == (0, 2)
    assert {row["error"]["code"] for row in lines(batch.error_file)} == {
        "internal_error"
    }


def test_large_answers_are_read_in_small_pages(
    make_batch: MakeBatch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = running_batch(make_batch, chunks=[5])
    claim = claim_next(engine)
    assert claim is not None
    sizes = [10, 3000, 10, 10, 10]
    record(
        claim.lease,
        [answer(claim, n, body='"' + "x" * size + '"') for n, size in enumerate(sizes)],
        with_copies=False,
        finished=True,
    )
    monkeypatch.setattr(output, "PAGE_CHARACTERS", 50)
    found = [[r.index for r in page] for page in output.pages(batch.pk)]
    assert found == [[0], [1], [2, 3, 4]]


class FullDisk(FileSystemStorage):
    """A disk with room for `room` more files; of the next one a part is written."""

    room = 0

    def _save(self, name: str, content: File[bytes]) -> str:
        def broken() -> Iterator[bytes]:
            yield content.read(1)
            raise OSError(errno.ENOSPC, "No space left on device")

        if not FullDisk.room:
            untyped: Any = content
            untyped.chunks = broken
        FullDisk.room -= 1
        return str(super()._save(name, content))  # type: ignore[misc]  # not in the stubs


def stored_files(folder: Path) -> list[str]:
    """What stages have put in the storage."""
    paths = (folder / "files").glob("re*/**/*")
    return sorted(path.name for path in paths if path.is_file())


def answered_batch(make_batch: MakeBatch, engine: Engine) -> Batch:
    """All requests are answered, one with a failure: two files are due."""
    batch = running_batch(make_batch, chunks=[2])
    claim = claim_next(engine)
    assert claim is not None
    answers = [answer(claim, 0), answer(claim, 1, outcome="failed", status_code=400)]
    record(claim.lease, answers, with_copies=False, finished=True)
    return batch


@pytest.mark.parametrize("room", [0, 1])
def test_a_full_disk_keeps_no_part_of_any_try(
    make_batch: MakeBatch,
    engine: Engine,
    settings: Settings,
    data_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    room: int,
) -> None:
    batch = answered_batch(make_batch, engine)
    default = settings.STORAGES["default"]
    full = {**default, "BACKEND": "tests.jobs.test_output.FullDisk"}
    settings.STORAGES = {**settings.STORAGES, "default": full}
    for _ in range(2):
        monkeypatch.setattr(FullDisk, "room", room)
        assert attend(batch).status == Status.FINALIZING
        assert stored_files(data_folder) == []
    # Said in its history, once.
    waits = batch.events.get(kind="stage_waits")
    assert waits.message == "a disk is full ([Errno 28] No space left on device)"
    settings.STORAGES = {**settings.STORAGES, "default": default}
    assert attend(batch).status == Status.COMPLETED
    assert len(stored_files(data_folder)) == 2


def test_files_of_a_killed_try_are_deleted_by_the_next(
    make_batch: MakeBatch, engine: Engine, data_folder: Path
) -> None:
    batch = answered_batch(make_batch, engine)
    later = f"{batch.public_id}-output-99"
    shelf = data_folder / "files" / "results" / batch.public_id[-2:]
    shelf.mkdir(parents=True)
    other = f"batch_{'0' * 32}-output-0"
    for name in (f"{batch.public_id}-output-0", other, later):
        (shelf / name).write_bytes(b"x")
    assert attend(batch).status == Status.COMPLETED
    # A later epoch's files belong to a worker that took the stage from this one.
    names = [f"{batch.public_id}-{role}-1" for role in ("error", "output")]
    assert stored_files(data_folder) == sorted([*names, other, later])


class LostReply:
    """Cuts the connection after the COMMIT that ends a batch; `silent` for good."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, silent: bool) -> None:
        self.ending = self.cut = False
        self.silent = silent
        driver: Any = connection  # its _commit is not in the stubs
        self.commit = driver._commit
        monkeypatch.setattr(connection, "_commit", self.lose)

    def lose(self) -> None:
        self.commit()
        if self.ending:
            self.ending, self.cut = False, True
            raise OperationalError("server closed the connection unexpectedly")

    def __call__(
        self, execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if self.cut and self.silent:
            raise OperationalError("could not connect to server")
        if sql.startswith("INSERT") and "jobs_batchfile" in sql:
            self.ending = True
        return execute(sql, params, many, context)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("silent", [False, True])
def test_a_commit_whose_reply_was_lost_keeps_the_files(
    make_batch: MakeBatch,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    silent: bool,
) -> None:
    batch = answered_batch(make_batch, engine)
    lost = LostReply(monkeypatch, silent=silent)
    with connection.execute_wrapper(lost), pytest.raises(OperationalError):
        stages.attend_batch(batch.pk)
    monkeypatch.undo()
    assert lost.cut
    batch.refresh_from_db()
    assert batch.status == Status.COMPLETED
    assert [row["custom_id"] for row in lines(batch.output_file)] == ["r0"]
    assert [row["custom_id"] for row in lines(batch.error_file)] == ["r1"]


def test_who_loses_the_race_for_the_files_deletes_its_own(
    make_batch: MakeBatch, engine: Engine, data_folder: Path
) -> None:
    batch = running_batch(make_batch, chunks=[1])
    claim = claim_next(engine)
    assert claim is not None
    record(claim.lease, [answer(claim, 0)], with_copies=False, finished=True)
    with stages.held(batch) as old:
        assert old is not None
        lifecycle.finalize(batch, epoch=old.epoch)
        Batch.objects.filter(pk=batch.pk).update(closed_at=batch.finalizing_at)
        batch.refresh_from_db()
        before = BatchFile.objects.count()
        Batch.objects.filter(pk=batch.pk).update(stage_epoch=batch.stage_epoch + 1)
        output.publish(batch, old)
    assert BatchFile.objects.count() == before
    assert stored_files(data_folder) == []
    batch.refresh_from_db()
    assert batch.status == Status.FINALIZING
