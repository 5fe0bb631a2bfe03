# SPDX-License-Identifier: Apache-2.0
"""Deleting batches: out of sight at once, out of the database and storage a month later.

A deleted batch keeps its rows and files until `remove_at`, and can be restored until
then. After it a chore removes them slice by slice; a killed one is gone on with. What
the batch used stays counted, its input file is the team's and stays.
"""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Model, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from batchsite.accounts.models import User
from batchsite.accounts.people import record

from . import file_store
from .models import (
    Batch,
    BatchEvent,
    BatchRequest,
    CheckRun,
    Chunk,
    FailureCount,
    ThroughputSample,
    WebhookDelivery,
)
from .refusals import NotNow

# A chore ends within a minute; what is left waits for the next turn.
TURN_SECONDS = 45
# Each request brings its answer, check results and marks along.
REQUESTS_AT_ONCE = 250
ROWS_AT_ONCE = 1000
ACTIONS = {"deleted": "delete", "restored": "restore"}


def delete_batch(
    *, batch: Batch, user: User | None, address: str | None = None
) -> Batch:
    """Take a batch that has ended out of everybody's sight, for 30 days; then it goes.

    Deleting it again changes nothing. NotNow for one that has not ended.
    """
    now = timezone.now()
    with transaction.atomic():
        rows = Batch.objects.kept().filter(pk=batch.pk, status__in=Batch.TERMINAL)
        won = rows.update(
            deleted_at=now,
            deleted_by=user,
            remove_at=now + timedelta(days=settings.BATCHSITE_DELETED_DAYS),
        )
        if won:
            _tell(batch, "deleted", user, address)
    batch.refresh_from_db()
    if batch.deleted_at is None:
        raise NotNow(
            f"Cannot delete a batch with status '{batch.status}': cancel it first, and"
            " delete it when it has ended."
        )
    return batch


def restore_batch(
    *, batch: Batch, user: User | None, address: str | None = None
) -> Batch:
    """Show a deleted batch again, whole. One that is not deleted stays as it is.

    NotNow when its removal has begun.
    """
    with transaction.atomic():
        rows = Batch.objects.filter(pk=batch.pk, remove_at__gt=Now())
        if rows.update(deleted_at=None, deleted_by=None, remove_at=None):
            _tell(batch, "restored", user, address)
    found = Batch.objects.filter(pk=batch.pk).first()
    if found is None or found.deleted_at is not None:
        raise NotNow("This batch is being removed, and cannot be restored any more.")
    return found


def remove_at_once(
    *, batch: Batch, user: User | None, address: str | None = None
) -> None:
    """Let the removal of a deleted batch begin now; nobody can restore it after that.

    NotNow for one that is not deleted.
    """
    with transaction.atomic():
        rows = Batch.objects.filter(pk=batch.pk, remove_at__isnull=False)
        if not rows.update(remove_at=Now()):
            raise NotNow("Only a deleted batch is removed: delete it first.")
        _record("batch.remove", batch, user, address)


def wanted() -> bool:
    """Whether a deleted batch's time is over, by the index of the deleted ones."""
    return Batch.objects.to_remove().exists()


def run(*, seconds: float = TURN_SECONDS) -> str:
    """Remove the batches whose time is over, oldest first; stops after `seconds`."""
    end, gone = monotonic() + seconds, 0
    for batch in Batch.objects.to_remove().order_by("remove_at")[:ROWS_AT_ONCE]:
        if not _remove(batch, end):
            break
        gone += 1
    return f"{gone} deleted batches removed"


def _remove(batch: Batch, end: float) -> bool:
    """Remove what the batch has and then itself; False when the time was over before."""
    # Whoever follows its checks finds the run gone and stores nothing.
    CheckRun.objects.filter(batch=batch).delete()
    # From the end: copies stand behind what they copy, and go before it.
    requests = BatchRequest.objects.filter(batch=batch).order_by("-index")
    owned: list[tuple[QuerySet[Any], int]] = [
        (requests, REQUESTS_AT_ONCE),
        (Chunk.objects.filter(batch=batch), ROWS_AT_ONCE),
        (ThroughputSample.objects.filter(batch=batch), ROWS_AT_ONCE),
        (FailureCount.objects.filter(batch=batch), ROWS_AT_ONCE),
        (WebhookDelivery.objects.filter(batch=batch), ROWS_AT_ONCE // 10),
        (BatchEvent.objects.filter(batch=batch), ROWS_AT_ONCE),
    ]
    if not all(_empty(rows, most, end) for rows, most in owned):
        return False
    for file in (batch.output_file, batch.error_file):
        if file is not None:
            file_store.remove(file, action="file.expire")
    with transaction.atomic():
        batch.delete()
        _record("batch.removed", batch, None, None)
        if batch.error_report:
            name = batch.error_report
            transaction.on_commit(lambda: file_store.delete_bytes([name]))
    return True


def _empty(rows: QuerySet[Any, Any], most: int, end: float) -> bool:
    """Delete all of these rows, so many in a transaction; False: no time for all."""
    kind: type[Model] = rows.model
    while keys := list(rows.values_list("pk", flat=True)[:most]):
        if monotonic() >= end:
            return False
        # Only their keys: Django would read the rows to find what goes along.
        kind._default_manager.filter(pk__in=keys).only("pk").delete()
    return True


def _tell(batch: Batch, kind: str, user: User | None, address: str | None) -> None:
    """Write it into the batch's history and the audit log."""
    BatchEvent.objects.create(
        batch_id=batch.pk, kind=kind, message=f"asked for by {user}" if user else ""
    )
    _record(f"batch.{ACTIONS[kind]}", batch, user, address)


def _record(action: str, batch: Batch, user: User | None, address: str | None) -> None:
    record(
        action=action,
        actor=user,
        team=batch.team,
        target=batch.public_id,
        address=address,
    )
