# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from batchsite.accounts.models import Team, User
from jobs.models import Batch, Result
from jobs.models.tags import HasTag

BEST = 10


class MarkQuerySet(models.QuerySet["Mark"]):
    def visible_to(self, user: User) -> MarkQuerySet:
        """Those of the user's teams, of batches that are not deleted; all for staff."""
        return self.filter(team__in=Team.objects.visible_to(user)).kept()

    def visible_to_team(self, team: Team) -> MarkQuerySet:
        """What a key of the team may see."""
        return self.filter(team=team).kept()

    def kept(self) -> MarkQuerySet:
        """Of batches that are not deleted."""
        return self.filter(batch__deleted_at__isnull=True)

    def chosen(
        self, *, starred: bool = False, least: int | None = None, tag: str = ""
    ) -> MarkQuerySet:
        """Those with a star, of that quality at least, with that tag; nothing asked: all."""
        found = self
        if starred:
            found = found.filter(starred=True)
        if least is not None:
            found = found.filter(quality__gte=least)
        if tag:
            found = found.filter(HasTag(models.F("tags"), models.Value(tag)))
        return found


class Mark(models.Model):
    """What somebody noted of an answer in passing: a star, a quality, tags, a note.

    One for each answer, of the whole team; it goes with the answer.
    """

    team = models.ForeignKey(Team, models.CASCADE, related_name="marks", db_index=False)
    batch = models.ForeignKey(Batch, models.CASCADE, related_name="marks")
    result = models.OneToOneField(Result, models.CASCADE, related_name="mark")
    starred = models.BooleanField(default=False)
    quality = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(BEST)],
        help_text="1 to 10, 10 the best.",
    )
    tags = models.JSONField(default=list, blank=True)
    note = models.TextField(blank=True)
    by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="marks"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = MarkQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # read by the list of a team's marks, newest first
            models.Index(fields=["team", "-id"], name="mark_of_team"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(quality=None) | Q(quality__gte=1, quality__lte=BEST),
                name="mark_quality_in_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.result_id}: {'starred' if self.starred else self.quality}"
