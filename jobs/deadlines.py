# SPDX-License-Identifier: Apache-2.0
"""Telling a batch's history, once, that it will hardly be done by its deadline."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import transaction

from . import standing
from .models import Batch, BatchEvent

AT_RISK = "deadline_at_risk"
NOTED_AT_ONCE = 500


def at_risk() -> list[int]:
    """Batches whose estimated end lies behind their deadline and that do not say so yet."""
    found = standing.take_look().by_pk
    late = {pk for pk, place in found.items() if place.at_risk}
    if not late:
        return []
    active = Batch.objects.active()
    noted = BatchEvent.objects.filter(batch__in=active.values("pk"), kind=AT_RISK)
    late.difference_update(noted.values_list("batch", flat=True))
    return sorted(late)[:NOTED_AT_ONCE]


def any_at_risk() -> bool:
    """Whether a batch is at risk and does not say so yet."""
    waiting = Batch.objects.active().filter(status__in=standing.WAITING)
    return waiting.exists() and bool(at_risk())


def note_risks() -> str:
    """Write the event of each batch at risk, once a batch."""
    count = sum(_note(pk) for pk in at_risk())
    return f"{count} batches"


def _note(pk: int) -> bool:
    """False when the batch has moved on, or another worker was faster."""
    with transaction.atomic():
        # The lock makes the look and the insert one step.
        batches = Batch.objects.filter(pk=pk, status__in=standing.WAITING)
        batch = batches.select_for_update().first()
        if batch is None or batch.events.filter(kind=AT_RISK).exists():
            return False
        deadline = datetime.fromtimestamp(batch.expires_at.timestamp(), tz=UTC)
        BatchEvent.objects.create(
            batch=batch,
            kind=AT_RISK,
            message="at the speed seen so far it will not be done by its deadline,"
            f" {deadline:%Y-%m-%d %H:%M} UTC",
        )
    return True
