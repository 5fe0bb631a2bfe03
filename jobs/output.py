# SPDX-License-Identifier: Apache-2.0
"""The end of a batch: closing it to late writers, then its files.

The files are a pure function of Result, so that any worker can write them again.
The row that names a file is its publication; whoever loses the race for the row
deletes the bytes it wrote (StageLease.files).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any

import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Length, Now
from django.utils import timezone

from . import disks, intake, lifecycle
from .ids import batch_request_id, request_id
from .models import Batch, BatchFile, BatchRequest, Chunk, Result
from .models.engines import database_time
from .recording import COPIES_AT_ONCE, copy_of, insert

if TYPE_CHECKING:
    from .models.results import ResultQuerySet
    from .stages import StageLease

GRACE_SECONDS = 30
PAGE_ROWS = 1000
PAGE_CHARACTERS = 4_000_000
SEARCHED_AT_ONCE = 50_000
# OpenAI deletes a batch's files 30 days after they were made.
FILE_LIFE = timedelta(days=30)
UNFINISHED = {
    Batch.ClosingReason.CANCELLED: (
        "batch_cancelled",
        "This request was not executed because the batch was cancelled.",
    ),
    Batch.ClosingReason.EXPIRED: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    # Every chunk is done and yet an answer is missing: the batch must end all the same.
    Batch.ClosingReason.DONE: (
        "internal_error",
        "This request was not executed because of an internal error.",
    ),
}


def finish(batch: Batch, lease: StageLease) -> bool:
    """Close the batch, answer what never ran, write the files, end it.

    False when it must wait: requests in flight get 30 s after a cancel or expiry.
    """
    if batch.closed_at is None:
        if not _may_close(batch):
            return False
        with transaction.atomic():
            lease.fence(closed_at=Now())
        batch.refresh_from_db()
    _close_chunks(batch, lease)
    if batch.total == 0:
        intake.purge(batch, lease)
    else:
        _answer_copies(batch, lease)
        _answer_unfinished(batch, lease)
    publish(batch, lease)
    return True


def _may_close(batch: Batch) -> bool:
    if batch.closing_reason == Batch.ClosingReason.DONE:
        return True
    if not batch.chunks.filter(state=Chunk.State.LEASED, lease_expires_at__gt=Now()):
        return True
    since = Q(cancelling_at__lt=database_time(-GRACE_SECONDS)) | Q(
        finalizing_at__lt=database_time(-GRACE_SECONDS)
    )
    return Batch.objects.filter(since, pk=batch.pk).exists()


def _close_chunks(batch: Batch, lease: StageLease) -> None:
    """Take every open chunk from its holder.

    closed_at alone already stops all writers, so this may go in slices.
    """
    while keys := list(batch.chunks.open().values_list("pk", flat=True)[:PAGE_ROWS]):
        with transaction.atomic():
            lease.fence()
            Chunk.objects.filter(pk__in=keys).update(
                state=Chunk.State.DONE,
                lease_epoch=F("lease_epoch") + 1,
                lease_expires_at=None,
                leased_by="",
            )


def _answer_copies(batch: Batch, lease: StageLease) -> None:
    """Give copies the answer of their original where only that one was stored."""
    newest = 0
    copies = (
        BatchRequest.objects.unanswered(batch.pk)
        .filter(duplicate_of__result__isnull=False)
        .select_related("duplicate_of__result")
        .defer("body", "duplicate_of__body")
        .order_by("pk")
    )
    while rows := list(copies.filter(pk__gt=newest)[:COPIES_AT_ONCE]):
        _store(batch, lease, [copy_of(row) for row in rows])
        newest = rows[-1].pk


def _answer_unfinished(batch: Batch, lease: StageLease) -> None:
    """Store an error for each request that has no result, in input order."""
    last = -1
    pending = BatchRequest.objects.unanswered(batch.pk).order_by("index")
    while rows := list(
        pending.filter(index__gt=last).values_list("pk", "index")[:PAGE_ROWS]
    ):
        code, message = UNFINISHED[Batch.ClosingReason(batch.closing_reason)]
        results = [
            Result(
                request_id=pk,
                index=index,
                outcome=Result.Outcome.FAILED,
                error_code=code,
                error_message=message,
            )
            for pk, index in rows
        ]
        _store(batch, lease, results)
        last = rows[-1][1]


def _store(batch: Batch, lease: StageLease, results: list[Result]) -> None:
    """Insert results under the stage lease, counters in the same transaction."""
    failed = sum(r.outcome == Result.Outcome.FAILED for r in results)
    with transaction.atomic():
        lease.fence(
            completed=F("completed") + len(results) - failed,
            failed=F("failed") + failed,
            result_seq=F("result_seq") + len(results),
        )
        insert(batch.pk, results)


@dataclass(slots=True)
class Written:
    """A spooled file and what its row needs to know."""

    spool: IO[bytes]
    sha: hashlib._Hash
    size: int = 0
    lines: int = 0

    def write(self, line: bytes) -> None:
        """Append one line."""
        self.spool.write(line)
        self.sha.update(line)
        self.size += len(line)
        self.lines += 1


def pages(
    batch_pk: int, order: str = Batch.OutputOrder.INPUT
) -> Iterator[list[Result]]:
    """All results in that order, read by keyset in pages of 1,000 rows or 4 MB.

    No cursor stays open; a page over 4 MB has one row.
    """
    key = "index" if order == Batch.OutputOrder.INPUT else "seq"
    results = Result.objects.filter(batch_id=batch_pk).with_custom_ids()
    last = -1
    while True:
        rest = results.filter(**{f"{key}__gt": last}).order_by(key)
        sizes = list(rest.values_list(key, Length("body"))[:PAGE_ROWS])
        if not sizes:
            return
        page = list(rest[: fitting(size for _, size in sizes)])
        yield page
        last = getattr(page[-1], key)


def fitting(sizes: Iterable[int], *, most: int | None = None) -> int:
    """How many of these sizes make a page, of 4 MB unless told otherwise; one at least."""
    rows, characters = 0, 0
    for size in sizes:
        if rows and characters + size > (most or PAGE_CHARACTERS):
            break
        rows, characters = rows + 1, characters + size
    return rows


@dataclass(frozen=True, slots=True)
class Portion:
    """Results that came after a seq: read them all, and go on after `last`."""

    results: list[Result]
    last: int
    has_more: bool


def portion(
    batch_pk: int,
    *,
    after: int,
    limit: int,
    outcome: str = "",
    only: Callable[[ResultQuerySet], ResultQuerySet] | None = None,
    known_to: int | None = None,
) -> Portion:
    """Up to `limit` results of at most 4 MB after that seq, of one outcome if asked.

    `only` narrows them further, by what is known of them up to the seq `known_to`.

    The batch may run: seq has no gaps and is given in the order of commits, so that
    nothing comes later that belongs before `last`. One call looks at no more than
    50,000 results for those of an outcome; `has_more` then sends the reader on.
    """
    newest = Batch.objects.values_list("result_seq", flat=True).get(pk=batch_pk)
    top = min(newest, after + SEARCHED_AT_ONCE)
    if known_to is not None:
        top = min(top, max(known_to, after))
    found = Result.objects.filter(batch_id=batch_pk, seq__gt=after, seq__lte=top)
    if outcome:
        found = found.filter(outcome=outcome)
    if only is not None:
        found = only(found)
    found = found.with_custom_ids().order_by("seq")
    sizes = list(found.values_list("seq", Length("body"))[: limit + 1])
    rows = fitting(size for _, size in sizes[:limit])
    results = list(found[:rows])
    if rows < len(sizes):
        return Portion(results, results[-1].seq, True)
    return Portion(results, max(after, top), top < newest)


def output_line(result: Result, extension: dict[str, Any] | None = None) -> bytes:
    """One line of an output or error file, as OpenAI writes them; no `batchsite` there.

    The body goes in as it was received; line ends can only stand between its tokens
    and become spaces.
    """
    response = error = None
    if result.status_code is None:
        error = {"code": result.error_code, "message": result.error_message}
    else:
        body = result.body.replace("\n", " ").replace("\r", " ")
        response = {
            "status_code": result.status_code,
            "request_id": result.engine_request_id or request_id(result.request_id),
            "body": orjson.Fragment(body),
        }
    return orjson.dumps(
        {
            "id": batch_request_id(result.request_id),
            "custom_id": result.request.custom_id,
            "response": response,
            "error": error,
            **({} if extension is None else {"batchsite": extension}),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def publish(batch: Batch, lease: StageLease) -> None:
    """Write the output and error files and end the batch with them.

    NoRoom while a disk is nearly full: what was written goes, and it is tried again.
    """
    settings.SPOOL_DIR.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryFile(dir=settings.SPOOL_DIR) as good,
        tempfile.TemporaryFile(dir=settings.SPOOL_DIR) as bad,
    ):
        output = Written(good, hashlib.sha256())
        error = Written(bad, hashlib.sha256())
        for page in pages(batch.pk, batch.output_order):
            lease.check()
            disks.check()
            for result in page:
                target = output if result.outcome == Result.Outcome.COMPLETED else error
                target.write(output_line(result))
        with lease.files("results") as store:
            saved = {
                role: _as_row(batch, written, role, store(role, written.spool))
                for role, written in (("output", output), ("error", error))
                if written.size
            }
            _end(batch, lease, saved)
    lease.check()


def _as_row(batch: Batch, written: Written, role: str, storage_name: str) -> BatchFile:
    """The row of a stored file, not saved yet."""
    now = timezone.now()
    life = timedelta(seconds=batch.output_expires_after or 0) or FILE_LIFE
    return BatchFile(
        team=batch.team,
        created_by=batch.owner,
        filename=f"{batch.public_id}_{role}.jsonl",
        purpose=BatchFile.Purpose.BATCH_OUTPUT,
        bytes=written.size,
        lines=written.lines,
        sha256=written.sha.hexdigest(),
        storage_name=storage_name,
        created_at=now,
        expires_at=now + life,
    )


def _end(batch: Batch, lease: StageLease, saved: dict[str, BatchFile]) -> None:
    """Insert the rows and end the batch; neither when the lease is lost."""
    with transaction.atomic():
        for file in saved.values():
            file.save(force_insert=True)
        ended = lifecycle.end(
            batch,
            epoch=lease.epoch,
            **{f"{role}_file": file for role, file in saved.items()},
        )
        if not ended:
            transaction.set_rollback(True)
