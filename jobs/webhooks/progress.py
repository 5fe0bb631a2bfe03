# SPDX-License-Identifier: Apache-2.0
"""The chore that tells of a running batch's progress, at each tenth of its requests."""

from __future__ import annotations

from django.db import transaction
from django.db.models import BigIntegerField, F, Q, QuerySet
from django.db.models.functions import Cast

from jobs import outbox
from jobs.models import Batch, BatchEvent, WebhookEndpoint

STEP = 10
# The end is told of by the batch's last event.
LAST = 90
MOST_AT_ONCE = 200


def wanted() -> bool:
    """Whether a running batch has passed a tenth that somebody wants to hear of."""
    return _passed().exists()


def run() -> str:
    """Tell of each; says how many batches."""
    told = sum(tell(batch) for batch in _passed()[:MOST_AT_ONCE])
    return f"told of {told} batches"


def _passed() -> QuerySet[Batch]:
    """Running batches whose next tenth is done, where somebody wants batch.progress."""
    teams = {
        endpoint.team_id
        for endpoint in WebhookEndpoint.objects.enabled()
        if outbox.wants(endpoint, outbox.PROGRESS)
    }
    # The products pass 32 bits.
    done = Cast(F("completed") + F("failed"), BigIntegerField())
    total = Cast(F("total"), BigIntegerField())
    return (
        Batch.objects.active()
        .filter(
            ~Q(webhook_url="") | Q(team__in=teams),
            status=Batch.Status.IN_PROGRESS,
            total__gt=0,
            progress_told__lt=LAST,
        )
        .annotate(hundred_done=done * 100)
        .filter(hundred_done__gte=total * (F("progress_told") + STEP))
        .order_by("id")
    )


def tell(batch: Batch) -> bool:
    """Write the progress event of the tenth that was reached, and its deliveries.

    All in one transaction that also moves `progress_told`; False when another worker
    told of it or the batch no longer runs. The UPDATE holds the batch's row, so that
    nothing is told after its end.
    """
    done = batch.completed + batch.failed
    percent = done * 100 // batch.total
    reached = min(percent // STEP * STEP, LAST)
    with transaction.atomic():
        won = Batch.objects.filter(
            pk=batch.pk,
            status=Batch.Status.IN_PROGRESS,
            progress_told=batch.progress_told,
        ).update(progress_told=reached)
        if not won:
            return False
        event = BatchEvent.objects.create(
            batch=batch,
            kind="progress",
            message=f"{percent} % done",
            data={
                "total": batch.total,
                "completed": batch.completed,
                "failed": batch.failed,
                "percent": percent,
            },
        )
        outbox.put(event, outbox.PROGRESS)
    return True
