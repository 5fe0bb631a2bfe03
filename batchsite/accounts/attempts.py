# SPDX-License-Identifier: Apache-2.0
"""Wrong passwords that count no more leave django-axes' table.

It deletes them itself when somebody signs in, all at once; on a quiet site those of
strangers, with their addresses, would stay.
"""

from __future__ import annotations

from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

SLICE = 500
# A chore ends within a minute; what is left waits for the next turn.
SLICES = 40


def _over() -> QuerySet[AccessAttempt]:
    over: QuerySet[AccessAttempt] = AccessAttempt.objects.filter(
        attempt_time__lt=timezone.now() - settings.AXES_COOLOFF_TIME
    )
    return over


def any_over() -> bool:
    """Whether there is something to delete."""
    return _over().exists()


def sweep() -> str:
    """Delete what is older than the wait, in slices; several at once do no harm."""
    gone = 0
    for _ in range(SLICES):
        keys = list(_over().order_by("pk").values_list("pk", flat=True)[:SLICE])
        if not keys:
            break
        # Again the condition: one that was just repeated counts anew.
        gone += _over().filter(pk__in=keys).delete()[0]
    return f"{gone} old wrong passwords forgotten"
