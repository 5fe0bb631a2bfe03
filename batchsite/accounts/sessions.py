# SPDX-License-Identifier: Apache-2.0
"""Sessions whose time is over leave the table."""

from __future__ import annotations

from django.contrib.sessions.models import Session
from django.utils import timezone

SLICE = 500
# A chore ends within a minute; what is left waits for the next turn.
SLICES = 40


def any_ended() -> bool:
    """Whether there is something to delete."""
    return Session.objects.filter(expire_date__lt=timezone.now()).exists()


def sweep() -> str:
    """Delete ended sessions in slices; several at once do no harm."""
    gone = 0
    for _ in range(SLICES):
        ended = Session.objects.filter(expire_date__lt=timezone.now())
        keys = list(ended.values_list("pk", flat=True)[:SLICE])
        if not keys:
            break
        gone += Session.objects.filter(pk__in=keys).delete()[0]
    return f"{gone} ended sessions deleted"
