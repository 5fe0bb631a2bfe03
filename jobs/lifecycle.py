# SPDX-License-Identifier: Apache-2.0
"""Every move of a batch's status.

Each verb is a compare-and-set UPDATE and its BatchEvent in one transaction; it
returns whether this call made the move. Losing a race is False, not an error.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from . import outbox
from .models import Batch, BatchEvent
from .refusals import NotNow

Status = Batch.Status
TRANSITIONS: dict[str, frozenset[str]] = {
    Status.VALIDATING: frozenset(
        {Status.IN_PROGRESS, Status.FAILED, Status.CANCELLING, Status.FINALIZING}
    ),
    Status.IN_PROGRESS: frozenset({Status.FINALIZING, Status.CANCELLING}),
    Status.FINALIZING: frozenset({Status.COMPLETED, Status.EXPIRED}),
    Status.CANCELLING: frozenset({Status.CANCELLED}),
}
# OpenAI's webhook events; the other statuses tell nobody.
TOLD = {Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED}
STALL_ENDED = "stall_ended"


class CannotCancel(NotNow):
    """The batch is in a status from which it cannot be cancelled."""

    def __init__(self, status: str) -> None:
        super().__init__(f"Cannot cancel a batch with status '{status}'.")
        self.status = status


def move(
    batch: Batch,
    old: str,
    new: str,
    *,
    message: str = "",
    where: dict[str, Any] | None = None,
    **columns: Any,
) -> bool:
    """Move `batch` from `old` to `new` if it is in `old` and `where` holds.

    Writes the status' own timestamp, `columns`, a BatchEvent and, for OpenAI's webhook
    events, their deliveries: all in one transaction.
    """
    if new not in TRANSITIONS.get(old, ()):
        raise ValueError(f"No batch moves from {old} to {new}.")
    with transaction.atomic():
        stalled = old == Status.IN_PROGRESS and _is_stalled(batch)
        won = Batch.objects.filter(pk=batch.pk, status=old, **(where or {})).update(
            status=new, stalled_since=None, **{f"{new}_at": Now()}, **columns
        )
        if won != 1:
            return False
        if stalled:
            note(batch.pk, STALL_ENDED, f"the batch is {new}")
        event = BatchEvent.objects.create(
            batch=batch, kind="status", old_status=old, new_status=new, message=message
        )
        if new in TOLD:
            outbox.put(event, f"batch.{new}")
    batch.refresh_from_db()
    return True


def _is_stalled(batch: Batch) -> bool:
    """Whether the row says so; locks it, so that no stall begins or ends meanwhile."""
    rows = Batch.objects.filter(pk=batch.pk).order_by().select_for_update()
    return rows.values_list("stalled_since", flat=True).first() is not None


def note(batch_pk: int, kind: str, message: str) -> None:
    """Add a fact to the batch's history."""
    BatchEvent.objects.create(batch_id=batch_pk, kind=kind, message=message)


def start(batch: Batch, *, epoch: int, total: int, model: str) -> bool:
    """validating -> in_progress: intake is done and the chunks exist.

    Refuses when the stage lease is no longer `epoch`'s.
    """
    return move(
        batch,
        Status.VALIDATING,
        Status.IN_PROGRESS,
        where={"stage_epoch": epoch},
        total=total,
        model=model,
    )


def fail(batch: Batch, *, epoch: int, errors: dict[str, Any], report: str = "") -> bool:
    """validating -> failed: the file has errors; nothing was run."""
    count = len(errors["data"])
    return move(
        batch,
        Status.VALIDATING,
        Status.FAILED,
        where={"stage_epoch": epoch},
        message=f"{count} error{'s' if count != 1 else ''} in the input file",
        errors=errors,
        error_report=report,
    )


def cancel(batch: Batch, *, message: str = "") -> Batch:
    """Ask for the end of a batch; idempotent while it is being cancelled or is.

    Raises CannotCancel in completed, failed, expired and finalizing.
    """
    # In the order in which batches go: a move that comes between is met by the second.
    for old in (Status.VALIDATING, Status.IN_PROGRESS):
        if move(
            batch,
            old,
            Status.CANCELLING,
            message=message,
            closing_reason=Batch.ClosingReason.CANCELLED,
        ):
            return batch
    batch.refresh_from_db()
    if batch.status not in (Status.CANCELLING, Status.CANCELLED):
        raise CannotCancel(batch.status)
    return batch


def finalize(batch: Batch, *, epoch: int) -> bool:
    """in_progress -> finalizing: every request has its result."""
    return move(
        batch,
        Status.IN_PROGRESS,
        Status.FINALIZING,
        where={"stage_epoch": epoch},
        closing_reason=Batch.ClosingReason.DONE,
    )


def overrun(batch: Batch) -> bool:
    """validating or in_progress -> finalizing: the window ended before the work."""
    return any(
        move(
            batch,
            old,
            Status.FINALIZING,
            where={"expires_at__lte": Now()},
            message="the completion window ended",
            closing_reason=Batch.ClosingReason.EXPIRED,
        )
        for old in (Status.VALIDATING, Status.IN_PROGRESS)
    )


def end(batch: Batch, *, epoch: int, **files: Any) -> bool:
    """finalizing -> completed or expired, cancelling -> cancelled; publishes the files.

    The move is the publication: it carries `output_file` and `error_file`.
    """
    old, new = {
        Batch.ClosingReason.DONE: (Status.FINALIZING, Status.COMPLETED),
        Batch.ClosingReason.EXPIRED: (Status.FINALIZING, Status.EXPIRED),
        Batch.ClosingReason.CANCELLED: (Status.CANCELLING, Status.CANCELLED),
    }[Batch.ClosingReason(batch.closing_reason)]
    return move(
        batch,
        old,
        new,
        where={"stage_epoch": epoch, "closed_at__isnull": False},
        stage_owner="",
        stage_lease_expires_at=None,
        **files,
    )
