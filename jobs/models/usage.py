# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q

from batchsite.accounts.models import Team, User

from .batches import Batch


class UsageQuerySet(models.QuerySet["Usage"]):
    def of(self, team: Team | None) -> UsageQuerySet:
        """The team's; of all teams for None."""
        return self.all() if team is None else self.filter(team=team)

    def between(self, since: datetime, until: datetime) -> UsageQuerySet:
        """Of hours that begin in this stretch of time."""
        return self.filter(hour__gte=since, hour__lt=until)


class Usage(models.Model):
    """What one person's batches of a team used of one model within an hour (UTC).

    Moved by jobs/usage.py alone, which says what is exact. Outlives the batches that it
    counts. There may be several rows of one hour: readers add them up.
    """

    # The index below begins with the team.
    team = models.ForeignKey(Team, models.CASCADE, db_index=False)
    user = models.ForeignKey(
        User, models.SET_NULL, null=True, help_text="Who owns the batches."
    )
    model = models.CharField(
        max_length=200, blank=True, help_text="Empty for batches of several models."
    )
    hour = models.DateTimeField()
    answered = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    cached_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    engine_seconds = models.FloatField(default=0.0)

    objects = UsageQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "usage"
        indexes = [
            # read by a team's page, and to find the row that grows
            models.Index(fields=["team", "hour"], name="usage_of_team"),
            # read by the page of all teams
            models.Index(fields=["hour"], name="usage_by_hour"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(engine_seconds__gte=0), name="usage_took_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.team_id} {self.hour:%Y-%m-%d %H}: {self.answered} answered"


class UsageMark(models.Model):
    """How much of a batch's counters is in Usage already.

    Stays after the batch has ended: without it a slow worker could count all again.
    """

    batch = models.OneToOneField(Batch, models.CASCADE, related_name="usage_mark")
    counted_at = models.DateTimeField(null=True)
    result_seq = models.PositiveIntegerField(default=0)
    answered = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    cached_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"usage of {self.batch_id} up to result {self.result_seq}"
