# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import InternalError, OperationalError

from jobs.models import Chunk, Engine
from jobs.recording import ChunkLease, LeaseLost, record
from jobs.writer import GivenBack, Writer, Written
from tests.conftest import MakeBatch

from .rows import answer, claimed, external_engine, running_batch

pytestmark = pytest.mark.django_db


class Told:
    """What a writer reported."""

    def __init__(self) -> None:
        self.lost: list[ChunkLease] = []
        self.stored: list[tuple[int, int]] = []

    def writer(self) -> Writer:
        return Writer(
            on_lost=self.lost.append,
            on_stored=lambda count, size: self.stored.append((count, size)),
        )


@pytest.fixture
def engine(db: None) -> Engine:
    return external_engine()


def failing(
    monkeypatch: pytest.MonkeyPatch, errors: list[Exception]
) -> Callable[[], int]:
    """Let `record` raise these errors first; gives a count of its calls."""
    calls: list[object] = []

    def failing_record(*args: Any, **named: Any) -> int:
        calls.append(args)
        if errors:
            raise errors.pop(0)
        return record(*args, **named)

    monkeypatch.setattr("jobs.writer.record", failing_record)
    monkeypatch.setattr("jobs.writer.time.sleep", lambda seconds: None)
    monkeypatch.setattr("jobs.writer.connection.close", lambda: None)
    monkeypatch.setattr("jobs.writer.close_old_connections", lambda: None)
    return lambda: len(calls)


def test_results_wait_while_the_database_takes_none(
    make_batch: MakeBatch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = running_batch(make_batch)
    claim = claimed(engine)
    told = Told()
    # A session that PostgreSQL ended while the process was paused says InternalError.
    calls = failing(monkeypatch, [OperationalError("gone"), InternalError("ended")])
    told.writer()._commit([Written(claim.lease, answer(claim, 0), False, False)])
    assert calls() == 3
    assert batch.results.count() == 1
    assert told.stored == [(1, len(answer(claim, 0).body))]


def test_a_commit_that_went_through_unnoticed_is_not_stored_twice(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch)
    claim = claimed(engine)
    told = Told()
    writer = told.writer()
    writer._commit([Written(claim.lease, answer(claim, 0), False, False)])
    again = [Written(claim.lease, answer(claim, n), False, n == 2) for n in range(3)]
    writer._commit(again)
    batch.refresh_from_db()
    assert (batch.completed, batch.result_seq, batch.results.count()) == (3, 3, 3)
    assert batch.chunks.get().state == Chunk.State.DONE
    assert told.lost == []


def test_a_lost_chunk_is_told_and_its_results_leave_the_backlog(
    make_batch: MakeBatch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running_batch(make_batch)
    claim = claimed(engine)
    told = Told()
    failing(monkeypatch, [LeaseLost(claim.lease)])
    told.writer()._commit([Written(claim.lease, answer(claim, 0), False, False)])
    assert told.lost == [claim.lease]
    assert [count for count, _ in told.stored] == [1]


def test_a_database_that_answers_with_a_refusal_is_in_no_trouble(
    make_batch: MakeBatch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running_batch(make_batch)
    claim = claimed(engine)
    told = Told()
    writer = told.writer()
    seen: list[str] = []
    # Cut off for so long that another host has the chunk when the database is back.
    failing(monkeypatch, [OperationalError("gone"), LeaseLost(claim.lease)])
    monkeypatch.setattr(
        "jobs.writer.time.sleep", lambda seconds: seen.append(writer.trouble)
    )
    writer._commit([Written(claim.lease, answer(claim, 0), False, False)])
    assert seen == ["gone"]
    assert told.lost == [claim.lease]
    assert writer.trouble == ""


def test_claims_with_results_in_the_backlog_stay_leased(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch)
    claim = claimed(engine)
    writer = Told().writer()
    writer.put(Written(claim.lease, answer(claim, 0), False, False))
    writer.put(GivenBack(claim.lease))
    assert writer.leases() == [claim.lease]
    writer._commit(writer._collect())
    assert writer.leases() == []
    assert batch.chunks.get().state == Chunk.State.PENDING


def test_an_error_that_it_cannot_handle_is_told(
    make_batch: MakeBatch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running_batch(make_batch)
    claim = claimed(engine)
    writer = Told().writer()
    failing(monkeypatch, [ZeroDivisionError("a mistake")])
    writer.put(Written(claim.lease, answer(claim, 0), False, True))
    writer.run()
    assert writer.failed == "ZeroDivisionError: a mistake"
