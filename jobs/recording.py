# SPDX-License-Identifier: Apache-2.0
"""The fenced result transaction: what an engine answered becomes rows, exactly once.

Locks are taken in the order Batch, Chunk, Result, here and everywhere. The two UPDATEs
are the fence: after another claim, or after the batch was closed, they match no row,
and nothing is stored. (A SELECT would be no fence: it can pass before the other side
commits.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import DataError, transaction
from django.db.models import F

from . import failures
from .models import Batch, BatchRequest, Chunk, Result
from .models.engines import STALE_SECONDS, database_time

logger = logging.getLogger(__name__)
COPIES_AT_ONCE = 200
# What drivers say to values that the database, or its encoding, cannot hold.
UNSTORABLE = (DataError, UnicodeError, OverflowError)
# An expired batch is finalizing; what was in flight may still arrive until it is closed.
TAKING = (
    Batch.Status.IN_PROGRESS,
    Batch.Status.CANCELLING,
    Batch.Status.FINALIZING,
)


class LeaseLost(Exception):
    """The chunk was claimed by another feeder, or its batch was closed."""


@dataclass(frozen=True, slots=True)
class ChunkLease:
    """A claim on a chunk: good as long as the row has this epoch."""

    chunk: int
    batch: int
    epoch: int


def record(
    lease: ChunkLease, results: Sequence[Result], *, with_copies: bool, finished: bool
) -> int:
    """Store results of one chunk, their copies, and perhaps its end; rows stored.

    `with_copies` says that copies of these requests may exist. `finished` marks the
    chunk as done once all of it is stored. Raises LeaseLost with nothing stored by
    the failing transaction.
    """
    last = finished and not with_copies
    stored = _store(lease, list(results), done=last)
    if with_copies:
        stored += record_copies(lease, originals=[r.request_id for r in results])
        if finished:
            stored += _store(lease, [], done=True)
    return stored


def record_copies(lease: ChunkLease, *, originals: Sequence[int] | None = None) -> int:
    """Answer copies of answered originals: of these, or of all in the chunk."""
    stored = 0
    while True:
        copies = BatchRequest.objects.unanswered(lease.batch).filter(
            duplicate_of__result__isnull=False
        )
        if originals is None:
            chunk = Chunk.objects.get(pk=lease.chunk)
            copies = copies.filter(
                duplicate_of__run_order__gte=chunk.start,
                duplicate_of__run_order__lt=chunk.end,
            )
        else:
            copies = copies.filter(duplicate_of__in=originals)
        page = copies.select_related("duplicate_of__result").defer(
            "body", "duplicate_of__body"
        )
        results = [copy_of(row) for row in page[:COPIES_AT_ONCE]]
        if not results:
            return stored
        stored += _store(lease, results, done=False)


def copy_of(row: BatchRequest) -> Result:
    """The result of a copy: its original's answer, no tokens, and where it is from."""
    assert row.duplicate_of is not None
    original = row.duplicate_of.result
    return Result(
        request_id=row.pk,
        index=row.index,
        outcome=original.outcome,
        status_code=original.status_code,
        engine_request_id=original.engine_request_id,
        body=original.body,
        error_code=original.error_code,
        error_message=original.error_message,
        finish_reason=original.finish_reason,
        engine_id=original.engine_id,
        provenance={**original.provenance, "copied_from": row.duplicate_of.custom_id},
    )


def insert(batch_pk: int, results: Sequence[Result]) -> None:
    """Store results, after the UPDATE of their batch that counted them.

    They get their batch, seq and class of error here. The updated row is locked, so
    that the numbers up to result_seq are ours.
    """
    top = Batch.objects.values_list("result_seq", flat=True).get(pk=batch_pk)
    for seq, result in enumerate(results, start=top - len(results) + 1):
        result.batch_id = batch_pk
        result.seq = seq
        result.error_class = failures.class_of(result)
    Result.objects.bulk_create(results)
    failures.count(batch_pk, results)


def _store(lease: ChunkLease, results: list[Result], *, done: bool) -> int:
    try:
        _transaction(lease, results, done=done)
    except UNSTORABLE:
        # Some text that this database cannot hold: find it row by row.
        logger.exception("storing %d results one by one", len(results))
        for result in results:
            _store_alone(lease, result)
        if done:
            _transaction(lease, [], done=True)
    return len(results)


def _store_alone(lease: ChunkLease, result: Result) -> None:
    try:
        _transaction(lease, [result], done=False)
    except UNSTORABLE as error:
        unstorable = Result(
            request_id=result.request_id,
            index=result.index,
            outcome=Result.Outcome.FAILED,
            error_code="result_not_storable",
            error_message=f"The database cannot hold the answer: {type(error).__name__}.",
            engine_id=result.engine_id,
            attempts=result.attempts,
        )
        _transaction(lease, [unstorable], done=False)


def _transaction(lease: ChunkLease, results: list[Result], *, done: bool) -> None:
    failed = sum(r.outcome == Result.Outcome.FAILED for r in results)
    with transaction.atomic():
        counted = Batch.objects.filter(
            pk=lease.batch, status__in=TAKING, closed_at__isnull=True
        ).update(
            completed=F("completed") + len(results) - failed,
            failed=F("failed") + failed,
            result_seq=F("result_seq") + len(results),
            input_tokens=F("input_tokens") + sum(r.input_tokens for r in results),
            cached_tokens=F("cached_tokens") + sum(r.cached_tokens for r in results),
            output_tokens=F("output_tokens") + sum(r.output_tokens for r in results),
            reasoning_tokens=F("reasoning_tokens")
            + sum(r.reasoning_tokens for r in results),
        )
        ours = counted and Chunk.objects.filter(
            pk=lease.chunk, lease_epoch=lease.epoch, state=Chunk.State.LEASED
        ).update(**_chunk_columns(done=done))
        if not ours:
            raise LeaseLost(lease)
        if results:
            insert(lease.batch, results)
        if done and not Chunk.objects.open().filter(batch_id=lease.batch).exists():
            # The row of the batch is locked: of two last chunks one sees the other done.
            from .tasks import poke_stage

            poke_stage(lease.batch)


def _chunk_columns(*, done: bool) -> dict[str, object]:
    if done:
        return {"state": Chunk.State.DONE, "leased_by": "", "lease_expires_at": None}
    return {"lease_expires_at": database_time(STALE_SECONDS)}
