# SPDX-License-Identifier: Apache-2.0
"""The chore that drops old deliveries and their attempts."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from jobs.models import WebhookDelivery

KEPT = timedelta(days=30)
# A delivery brings its attempts along: about 1,000 rows a transaction.
SLICE = 100
MOST_SLICES = 100


def wanted() -> bool:
    """Whether the oldest delivery is older than 30 days."""
    return bool(_oldest(1))


def run() -> str:
    """Delete deliveries older than 30 days, oldest first; says how many."""
    gone = 0
    for _ in range(MOST_SLICES):
        keys = _oldest(SLICE)
        if not keys:
            break
        WebhookDelivery.objects.filter(pk__in=keys).delete()
        gone += len(keys)
    return f"deleted {gone} deliveries"


def _oldest(most: int) -> list[int]:
    """Those of the first rows that are old; rows are made in the order of their time."""
    before = timezone.now() - KEPT
    first = WebhookDelivery.objects.order_by("id").values_list("pk", "created_at")
    return [key for key, created_at in first[:most] if created_at < before]
