# SPDX-License-Identifier: Apache-2.0
"""Telling webhooks of queues whose items are all judged and decided."""

from __future__ import annotations

from django.db import transaction

from jobs import outbox

from . import standing
from .models import ReviewQueue

AT_ONCE = 100


def wanted() -> bool:
    """Whether a queue has come to its end, or has something to do again."""
    return ReviewQueue.objects.moved().exists()


def run() -> str:
    """Tell of each that has ended; once, until it has items to judge again."""
    told = 0
    for queue in (
        ReviewQueue.objects.moved().select_related("team").order_by("pk")[:AT_ONCE]
    ):
        told += _tell(queue)
    return f"told of {told} queues"


def _tell(queue: ReviewQueue) -> bool:
    with transaction.atomic():
        over = not queue.told_completed
        rows = ReviewQueue.objects.filter(pk=queue.pk, told_completed=not over)
        if not rows.update(told_completed=over):
            # Another worker was quicker.
            return False
        if over:
            counts = standing.of_all([queue])[queue.pk]
            data = {"id": queue.public_id, "name": queue.name, "items": counts.done}
            outbox.put_for_team(queue.team, outbox.REVIEW_COMPLETED, data)
    return over
