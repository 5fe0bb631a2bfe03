# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ

from jobs import claims, lifecycle
from jobs.models import Batch, Chunk, Engine, Result
from jobs.recording import ChunkLease, LeaseLost, record, record_copies
from jobs.suspects import DEATHS_ALONE
from tests.conftest import MakeBatch

from .rows import answer, claim_next, counts_match, external_engine, running_batch

pytestmark = pytest.mark.django_db


@pytest.fixture
def engine(db: None) -> Engine:
    return external_engine()


def expire(claim: claims.Claim) -> None:
    """Let the lease of a chunk run out."""
    Chunk.objects.filter(pk=claim.lease.chunk).update(
        lease_expires_at="2000-01-01T00:00:00Z"
    )


def test_results_counters_and_seq_move_together(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[3])
    claim = claim_next(engine)
    assert claim is not None
    bad = answer(claim, 1, outcome="failed", status_code=400, output_tokens=0)
    record(claim.lease, [answer(claim, 2), bad], with_copies=False, finished=False)
    record(claim.lease, [answer(claim, 0)], with_copies=False, finished=True)
    batch.refresh_from_db()
    assert (batch.completed, batch.failed, batch.result_seq) == (2, 1, 3)
    assert (batch.input_tokens, batch.output_tokens) == (15, 14)
    assert [r.seq for r in batch.results.order_by("seq")] == [1, 2, 3]
    assert [r.index for r in batch.results.order_by("seq")] == [2, 1, 0]
    assert counts_match(batch)
    assert batch.chunks.get().state == Chunk.State.DONE
    # The last chunk wakes a control worker.
    assert OrmQ.objects.count() == 1


def test_a_writer_whose_chunk_was_claimed_again_stores_nothing(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[2])
    old = claim_next(engine)
    assert old is not None
    record(old.lease, [answer(old, 0)], with_copies=False, finished=False)
    expire(old)
    new = claim_next(engine, worker="w2")
    assert new is not None
    assert new.lease.epoch == old.lease.epoch + 1
    # Only rows without a result run again.
    assert [row.index for row in new.rows] == [1]
    with pytest.raises(LeaseLost):
        record(old.lease, [answer(old, 1)], with_copies=False, finished=True)
    record(new.lease, [answer(new, 0)], with_copies=False, finished=True)
    batch.refresh_from_db()
    assert (batch.completed, batch.result_seq) == (2, 2)


@pytest.mark.parametrize("status", ["cancelling", "in_progress"])
def test_nothing_is_stored_after_a_batch_was_closed(
    make_batch: MakeBatch, engine: Engine, status: str
) -> None:
    batch = running_batch(make_batch)
    claim = claim_next(engine)
    assert claim is not None
    columns = {"status": status, "closing_reason": "cancelled"}
    Batch.objects.filter(pk=batch.pk).update(closed_at=timezone.now(), **columns)
    with pytest.raises(LeaseLost):
        record(claim.lease, [answer(claim, 0)], with_copies=False, finished=False)
    assert not Result.objects.exists()


def test_results_that_arrive_after_a_cancel_are_kept(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch)
    claim = claim_next(engine)
    assert claim is not None
    lifecycle.cancel(batch)
    record(claim.lease, [answer(claim, 0)], with_copies=False, finished=False)
    batch.refresh_from_db()
    assert batch.completed == 1


def test_a_request_has_one_result_whatever_happens(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch)
    claim = claim_next(engine)
    assert claim is not None
    record(claim.lease, [answer(claim, 0)], with_copies=False, finished=False)
    with pytest.raises(IntegrityError), transaction.atomic():
        record(claim.lease, [answer(claim, 0)], with_copies=False, finished=False)
    batch.refresh_from_db()
    assert (batch.completed, batch.result_seq) == (1, 1)


def test_copies_get_the_answer_their_own_place_and_no_tokens(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[1], copies=450)
    claim = claim_next(engine)
    assert claim is not None
    assert claim.rows[0].has_copies
    stored = record(claim.lease, [answer(claim, 0)], with_copies=True, finished=True)
    assert stored == 451
    batch.refresh_from_db()
    assert (batch.completed, batch.output_tokens, batch.remaining) == (451, 7, 0)
    copy = batch.results.get(index=300)
    assert copy.body == '{"id": "x", "choices": []}'
    assert copy.provenance == {"copied_from": "r0"}
    assert counts_match(batch)
    assert batch.chunks.get().state == Chunk.State.DONE


def test_copies_that_a_dead_worker_left_out_are_filled_in(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch, chunks=[2], copies=3)
    old = claim_next(engine)
    assert old is not None
    record(old.lease, [answer(old, 0)], with_copies=False, finished=False)
    expire(old)
    new = claim_next(engine)
    assert new is not None
    assert record_copies(new.lease) == 3
    batch.refresh_from_db()
    assert batch.completed == 4


def test_leases_are_extended_and_losses_are_told(
    make_batch: MakeBatch, engine: Engine
) -> None:
    running_batch(make_batch, chunks=[2, 2])
    first, second = claim_next(engine), claim_next(engine)
    assert first is not None
    assert second is not None
    held = [first.lease, second.lease]
    assert claims.extend("w1", held) == []
    expire(first)
    assert claim_next(engine, worker="w2") is not None
    assert claims.extend("w1", held) == [first.lease]


def test_a_chunk_given_back_counts_no_attempt(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch)
    claim = claim_next(engine)
    assert claim is not None
    assert batch.chunks.get().attempts == 1
    assert claims.give_back(claim.lease, count_attempt=False)
    chunk = batch.chunks.get()
    assert (chunk.state, chunk.attempts, chunk.leased_by) == ("pending", 0, "")
    # Who gave it back has no say any more.
    assert not claims.give_back(claim.lease, count_attempt=False)


def test_a_feeder_prefers_the_chunk_that_follows_its_last_one(
    make_batch: MakeBatch, engine: Engine
) -> None:
    running_batch(make_batch, chunks=[2, 2, 2])
    (work,) = claims.claimable_work(None)
    claim = claims.claim(work, engine=engine, worker="w1", after=4)
    assert claim is not None
    assert claim.start == 4


def test_a_feeder_does_not_claim_what_it_holds_when_the_clock_jumps(
    make_batch: MakeBatch, engine: Engine
) -> None:
    running_batch(make_batch, chunks=[2, 2])
    first = claim_next(engine)
    assert first is not None
    expire(first)
    (work,) = claims.claimable_work(None)

    def claimed(*held: ChunkLease) -> claims.Claim | None:
        return claims.claim(work, engine=engine, worker="w1", after=None, held=held)

    second = claimed(first.lease)
    assert second is not None
    assert second.start == 2
    assert claimed(first.lease, second.lease) is None
    # Whoever does not hold it may take it.
    assert claimed() is not None


@pytest.mark.parametrize(
    "columns",
    [
        {"paused": True},
        {"expires_at": timezone.now()},
        {"status": Batch.Status.VALIDATING},
    ],
)
def test_paused_late_and_unready_batches_are_not_claimed(
    make_batch: MakeBatch, columns: dict[str, object]
) -> None:
    yesterday = timezone.now() - timedelta(days=1)
    batch = running_batch(make_batch, created_at=yesterday)
    Batch.objects.filter(pk=batch.pk).update(**columns)
    assert claims.claimable_work(None) == []
    assert claims.still_running([batch.pk]) == set()


def test_a_claim_is_decided_by_the_rows_own_columns(
    make_batch: MakeBatch, engine: Engine
) -> None:
    # PostgreSQL re-checks those alone after waiting for another claimer; a condition
    # in a subquery let two engines win one chunk.
    running_batch(make_batch)
    with CaptureQueriesContext(connection) as queries:
        assert claim_next(engine) is not None
    (update,) = [q["sql"] for q in queries if q["sql"].startswith("UPDATE")]
    assert "SELECT" not in update
    looks = [q["sql"] for q in queries if q["sql"].startswith('SELECT "jobs_chunk"')]
    chosen = looks[-1]
    assert "'pending'" in chosen
    assert chosen.count("SELECT") == 1
    assert "JOIN" not in chosen
    # SQLite's only writer needs no lock, and Django leaves it out there.
    assert ("SKIP LOCKED" in chosen) == (connection.vendor == "postgresql")


def test_a_claim_that_was_made_anew_is_not_extended_for_the_old_one(
    make_batch: MakeBatch, engine: Engine
) -> None:
    running_batch(make_batch)
    old = claim_next(engine)
    assert old is not None
    expire(old)
    new = claim_next(engine)
    assert new is not None
    assert claims.extend("w1", [old.lease]) == [old.lease]
    assert claims.extend("w1", [new.lease]) == []


def test_an_answer_that_cannot_be_stored_becomes_an_error_beside_the_good_ones(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch)
    claim = claim_next(engine)
    assert claim is not None
    odd = answer(claim, 1, body='{"x": "\ud800"}')
    results = [answer(claim, 0), odd, answer(claim, 2)]
    record(claim.lease, results, with_copies=False, finished=True)
    batch.refresh_from_db()
    assert (batch.completed, batch.failed) == (2, 1)
    assert batch.results.get(index=1).error_code == "result_not_storable"
    assert batch.chunks.get().state == Chunk.State.DONE
    assert counts_match(batch)


def test_suspects_come_back_marked_and_poison_is_told_apart(
    make_batch: MakeBatch, engine: Engine
) -> None:
    running_batch(make_batch)
    claim = claim_next(engine)
    assert claim is not None
    everyone = [row.pk for row in claim.rows]
    claims.suspect(engine, everyone)
    for _ in range(DEATHS_ALONE):
        claims.suspect(engine, everyone[:1])
    claims.give_back(claim.lease, count_attempt=False)
    again = claim_next(engine)
    assert again is not None
    assert [(row.suspect_group, row.is_poison) for row in again.rows] == [
        (1, True),
        (3, False),
        (3, False),
    ]
