# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from batchsite.accounts.models import Team, User
from curation.ids import new_queue_id
from jobs.models.owned import OwnedQuerySet

from .rubrics import RubricVersion

MOST_OVERLAP = 20


class QueueQuerySet(OwnedQuerySet["ReviewQueue"]):
    def moved(self) -> QueueQuerySet:
        """Those that are live, of which webhooks were told something else, or nothing yet.

        A queue is completed when it has items and none is left to judge or to decide.
        """
        from .items import ReviewItem

        items = ReviewItem.objects.filter(queue=OuterRef("pk"), gold_text="")
        left = items.filter(state__in=("pending", "in_progress", "awaiting_resolution"))
        over = Q(Exists(items.filter(state="completed"))) & ~Q(Exists(left))
        return self.live().filter(
            (over & Q(told_completed=False)) | (~over & Q(told_completed=True))
        )

    def live(self) -> QueueQuerySet:
        """Those that are open or paused."""
        return self.exclude(state=ReviewQueue.State.ARCHIVED)


class ReviewQueue(models.Model):
    """Answers that people judge by one version of a rubric, and by which rules.

    Its reviewers are `assignees`; without any, all who may curate in the team.
    """

    class Kind(models.TextChoices):
        SINGLE = "single"
        PAIRWISE = "pairwise"
        RANKING = "ranking"

    class State(models.TextChoices):
        ACTIVE = "active"
        PAUSED = "paused"
        ARCHIVED = "archived"

    class Skips(models.TextChoices):
        OTHERS = "others", "a skipped item goes to others"
        NONE = "none", "no item is skipped"

    class AutoResolve(models.TextChoices):
        NONE = "none", "a person decides"
        UNANIMOUS = "unanimous", "where all agree"
        MAJORITY = "majority", "by the majority"
        WEIGHTED = "weighted", "by the majority, weighted by accuracy on gold items"

    public_id = models.CharField(
        max_length=40, unique=True, default=new_queue_id, editable=False
    )
    team = models.ForeignKey(Team, models.CASCADE, related_name="review_queues")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.SINGLE)
    rubric_version = models.ForeignKey(
        RubricVersion, models.RESTRICT, related_name="queues"
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACTIVE)
    overlap = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_OVERLAP)],
        help_text="How many people judge an item.",
    )
    coverage = models.PositiveSmallIntegerField(
        default=100,
        validators=[MaxValueValidator(100)],
        help_text="Percent of the items that so many judge; the others have one.",
    )
    blind_model = models.BooleanField(
        default=True, help_text="Reviewers do not see which model answered."
    )
    blind_others = models.BooleanField(
        default=True,
        help_text="Reviewers do not see what others said before they have submitted.",
    )
    gold_rate = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(50)],
        help_text="Percent of a reviewer's items whose right answers are known.",
    )
    lock_minutes = models.PositiveSmallIntegerField(
        default=20,
        validators=[MinValueValidator(1), MaxValueValidator(24 * 60)],
        help_text="How long an item is held for a reviewer who does nothing.",
    )
    skips = models.CharField(max_length=10, choices=Skips.choices, default=Skips.OTHERS)
    auto_advance = models.BooleanField(
        default=False,
        help_text="A rubric of one question is submitted by its answer.",
    )
    auto_resolve = models.CharField(
        max_length=10, choices=AutoResolve.choices, default=AutoResolve.NONE
    )
    guidelines = models.TextField(blank=True, help_text="Markdown.")
    due_at = models.DateTimeField(null=True, blank=True)
    assignees = models.ManyToManyField(User, blank=True, related_name="review_queues")
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="made_queues"
    )
    told_completed = models.BooleanField(
        default=False,
        editable=False,
        help_text="Webhooks know that each of its items is done.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = QueueQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="queue_name_once"),
            models.CheckConstraint(
                condition=Q(kind__in=["single", "pairwise", "ranking"]),
                name="queue_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["active", "paused", "archived"]),
                name="queue_state_known",
            ),
            models.CheckConstraint(
                condition=Q(overlap__gte=1, overlap__lte=MOST_OVERLAP),
                name="queue_overlap_in_bounds",
            ),
            models.CheckConstraint(
                condition=Q(coverage__lte=100, gold_rate__lte=50),
                name="queue_shares_are_percent",
            ),
        ]

    def __str__(self) -> str:
        return self.name
