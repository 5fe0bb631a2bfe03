# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.storage import default_storage

from jobs import lifecycle, output, stages
from jobs.models import Batch, BatchFile, Chunk, Engine
from jobs.recording import counts_match, record
from tests.conftest import MakeBatch

from .rows import answer, claim_next, external_engine, running_batch

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


def test_who_loses_the_race_for_the_files_deletes_its_own(
    make_batch: MakeBatch, engine: Engine
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
    assert default_storage.listdir("results")[1] == []
    folders = default_storage.listdir("results")[0]
    assert all(default_storage.listdir(f"results/{f}")[1] == [] for f in folders)
    batch.refresh_from_db()
    assert batch.status == Status.FINALIZING
