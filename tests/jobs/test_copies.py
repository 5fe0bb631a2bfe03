# SPDX-License-Identifier: Apache-2.0
"""Exact copies of a request, when something goes wrong between it and them.

A copy has its original's answer wherever that one has any: it is never run itself,
never lost, never stored twice.
"""

from __future__ import annotations

import pytest
from django.db import OperationalError

from jobs import lifecycle, recording, stages
from jobs.claims import Claim
from jobs.models import Batch, Chunk, Engine, Result
from jobs.recording import LeaseLost, record, record_copies
from jobs.writer import Writer, Written
from tests.conftest import MakeBatch

from .rows import answer, claimed, counts_match, external_engine, running_batch

pytestmark = pytest.mark.django_db
COPIES = 2 * recording.COPIES_AT_ONCE + 50


@pytest.fixture
def engine(db: None) -> Engine:
    return external_engine()


def only_original(claim: Claim, **over: object) -> None:
    """Store what a worker stores that dies before it comes to the copies."""
    results = [answer(claim, 0, **over)]
    record(claim.lease, results, with_copies=False, finished=False)


def end(batch: Batch) -> Batch:
    """Let a control worker close the batch and write its files."""
    stages.attend_batch(batch.pk)
    batch.refresh_from_db()
    return batch


def outcomes(batch: Batch) -> list[tuple[str, str]]:
    """Outcome and error code of each request, in the order of the input."""
    rows = batch.results.order_by("index")
    return list(rows.values_list("outcome", "error_code"))


def let_leases_end() -> None:
    """As 15 s after a worker's last sign of life."""
    Chunk.objects.update(lease_expires_at="2000-01-01T00:00:00Z")


DONE = ("completed", "")
CANCELLED = ("failed", "batch_cancelled")


def test_cancelled_before_the_original_ran_none_is_answered(
    make_batch: MakeBatch,
) -> None:
    batch = running_batch(make_batch, chunks=[2], copies=3)
    lifecycle.cancel(batch)
    end(batch)
    assert batch.status == Batch.Status.CANCELLED
    assert outcomes(batch) == [CANCELLED] * 5
    assert counts_match(batch)


def test_cancelled_between_the_original_and_its_copies_these_are_answered(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[2], copies=COPIES)
    only_original(claimed(engine))
    lifecycle.cancel(batch)
    let_leases_end()
    end(batch)
    assert batch.status == Batch.Status.CANCELLED
    assert outcomes(batch) == [DONE, CANCELLED, *[DONE] * COPIES]
    assert counts_match(batch)
    assert batch.output_tokens == 7


def test_a_deadline_between_the_original_and_its_copies_lets_them_be_answered(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[2], copies=3)
    only_original(claimed(engine))
    Batch.objects.filter(pk=batch.pk).update(
        created_at="2000-01-01T00:00:00Z", expires_at="2000-01-02T00:00:00Z"
    )
    let_leases_end()
    end(batch)
    assert batch.status == Batch.Status.EXPIRED
    assert outcomes(batch) == [DONE, ("failed", "batch_expired"), *[DONE] * 3]
    assert counts_match(batch)


def test_the_copies_of_a_failed_request_fail_as_it_did(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[1], copies=3)
    claim = claimed(engine)
    bad = answer(
        claim,
        0,
        outcome="failed",
        status_code=400,
        body='{"error": {}}',
        output_tokens=0,
    )
    record(claim.lease, [bad], with_copies=True, finished=True)
    end(batch)
    assert batch.status == Batch.Status.COMPLETED
    assert (batch.completed, batch.failed) == (0, 4)
    bodies = set(batch.results.values_list("status_code", "body"))
    assert bodies == {(400, '{"error": {}}')}
    assert counts_match(batch)


def test_killed_in_the_middle_of_the_copies_the_next_holder_stores_the_rest(
    make_batch: MakeBatch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = running_batch(make_batch, chunks=[1], copies=COPIES)
    old = claimed(engine)
    transactions = recording._transaction
    calls = []

    def dying(*args: object, **named: object) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise SystemExit("killed")
        transactions(*args, **named)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(recording, "_transaction", dying)
    with pytest.raises(SystemExit):
        record(old.lease, [answer(old, 0)], with_copies=True, finished=True)
    monkeypatch.setattr(recording, "_transaction", transactions)
    batch.refresh_from_db()
    # The original and a first page; the chunk is not done, whatever was asked for.
    assert batch.result_seq == 1 + recording.COPIES_AT_ONCE
    assert batch.chunks.get().state == Chunk.State.LEASED

    let_leases_end()
    new = claimed(engine)
    assert new.rows == []
    assert record_copies(new.lease) == COPIES - recording.COPIES_AT_ONCE
    with pytest.raises(LeaseLost):
        record(old.lease, [], with_copies=False, finished=True)
    record(new.lease, [], with_copies=False, finished=True)
    end(batch)
    assert batch.status == Batch.Status.COMPLETED
    assert outcomes(batch) == [DONE] * (1 + COPIES)
    assert counts_match(batch)


def test_a_worker_that_lost_the_chunk_answers_no_copies(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[1], copies=3)
    old = claimed(engine)
    only_original(old)
    let_leases_end()
    claimed(engine)
    with pytest.raises(LeaseLost):
        record_copies(old.lease)
    assert batch.results.count() == 1


def test_a_reply_that_was_lost_between_stores_no_copy_twice(
    make_batch: MakeBatch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = running_batch(make_batch, chunks=[1], copies=3)
    claim = claimed(engine)
    lost = [OperationalError("the reply is lost")]

    def deaf(*args: object, **named: object) -> None:
        record(*args, **named)  # type: ignore[arg-type]  # passed through
        if lost:
            raise lost.pop()

    monkeypatch.setattr("jobs.writer.record", deaf)
    monkeypatch.setattr("jobs.writer.time.sleep", lambda seconds: None)
    monkeypatch.setattr("jobs.writer.connection.close", lambda: None)
    monkeypatch.setattr("jobs.writer.close_old_connections", lambda: None)
    dropped: list[object] = []
    writer = Writer(on_lost=dropped.append, on_stored=lambda count, size: None)
    writer._commit([Written(claim.lease, answer(claim, 0), True, True)])
    batch.refresh_from_db()
    assert batch.result_seq == batch.results.count() == 4
    assert batch.chunks.get().state == Chunk.State.DONE
    assert counts_match(batch)


def test_copies_of_a_request_that_kills_its_engine_get_its_error(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[1], copies=2)
    claim = claimed(engine)
    poison = Result(
        request_id=claim.rows[0].pk,
        index=0,
        outcome=Result.Outcome.FAILED,
        error_code="engine_crashed",
        error_message="The engine died with this request three times.",
    )
    record(claim.lease, [poison], with_copies=True, finished=True)
    end(batch)
    assert outcomes(batch) == [("failed", "engine_crashed")] * 3
    assert counts_match(batch)
