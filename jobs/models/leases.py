# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from .engines import database_time

Row = TypeVar("Row", bound="Leased")
LEASE_SECONDS = 120


class TakenOver(Exception):
    """Another process took the row for left alone, and goes on with it."""


class LeasedQuerySet(models.QuerySet[Row]):
    def free(self) -> Self:
        """Those that nobody works on just now, by the database's clock."""
        return self.filter(Q(taken_until=None) | Q(taken_until__lt=Now()))

    def take(self, row: Row) -> bool:
        """Hold a row of these for LEASE_SECONDS; False where another process does.

        The row then has the turn that its updates are made with.
        """
        until = database_time(LEASE_SECONDS)
        # By itself: of a query with joins PostgreSQL would compare the key alone again
        # where two processes come at once.
        rows = type(row)._base_manager.filter(pk=row.pk, turn=row.turn)
        mine = rows.filter(Q(taken_until=None) | Q(taken_until__lt=Now()))
        if not mine.update(taken_until=until, turn=F("turn") + 1):
            return False
        row.turn += 1
        return True


class Leased(models.Model):
    """What one process at a time works on, and another one goes on with.

    Its changes are made by `hold`, which tells who slept past the lease that the row is
    another's by now.
    """

    taken_until = models.DateTimeField(null=True, blank=True, editable=False)
    turn = models.PositiveIntegerField(
        default=0,
        editable=False,
        help_text="Rises with each taking: who has an older one is too late.",
    )

    class Meta:
        abstract = True

    def hold(self, **values: Any) -> None:
        """Change these columns and hold the row for longer; TakenOver if it is another's."""
        held = {"taken_until": database_time(LEASE_SECONDS), **values}
        mine = type(self)._base_manager.filter(pk=self.pk, turn=self.turn)
        if not mine.update(**held):
            raise TakenOver
