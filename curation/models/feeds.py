# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from batchsite.accounts.models import User
from jobs.models import Batch
from jobs.models.leases import Leased, LeasedQuerySet
from jobs.models.words import words_of

from .queues import ReviewQueue

MOST_SAMPLED = 10_000
# A batch's end is by the clock of the host that closed it, and takes a while itself.
CLOCKS_APART = timedelta(days=1)


class Choosing(models.TextChoices):
    """Which of the rows that match are taken."""

    ALL = "all", "all of them"
    RANDOM = "random", "a random sample"
    STRATIFIED = "stratified", "as many of each answer, model or ending"
    DISAGREEMENT = "disagreement", "those that two models answer differently"
    LEAST_CERTAIN = "least_certain", "those that the model was least sure of"


class FeedRule(models.Model):
    """Each batch of a kind is fed into the queue when it ends.

    Empty members ask nothing; `wanted_text` is a result filter as JSON.
    """

    queue = models.ForeignKey(ReviewQueue, models.CASCADE, related_name="feed_rules")
    model = models.CharField(max_length=200, blank=True)
    tag = models.CharField(max_length=64, blank=True)
    endpoint = models.CharField(max_length=64, blank=True)
    wanted_text = models.TextField(default="{}")
    how = models.CharField(
        max_length=16, choices=Choosing.choices, default=Choosing.RANDOM
    )
    most = models.PositiveIntegerField(
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_SAMPLED)],
    )
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="feed_rules"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    looked_at = models.DateTimeField(
        default=timezone.now,
        editable=False,
        help_text="Batches that ended long before were all looked at.",
    )

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.queue}: {self.model or 'any model'} {self.tag}".strip()

    @property
    def wanted(self) -> dict[str, Any]:
        """The filter's members that ask something, as `feeding.as_text` stores them."""
        found: dict[str, Any] = json.loads(self.wanted_text)
        return found

    @property
    def wanted_check(self) -> str:
        """What of a row check it asks for, like `valid:failed`; empty: nothing."""
        return str(self.wanted.get("check", ""))

    def batches(self) -> models.QuerySet[Batch]:
        """Those that ended since the rule is there, match it and were not fed by it yet."""
        fed = Feed.objects.filter(rule=self, batch=OuterRef("pk"))
        found = Batch.objects.filter(
            ~Exists(fed),
            team=self.queue.team_id,
            status__in=(Batch.Status.COMPLETED, Batch.Status.EXPIRED),
            closed_at__gt=max(self.created_at, self.looked_at - CLOCKS_APART),
            deleted_at=None,
        )
        if self.model:
            found = found.filter(model=self.model)
        if self.endpoint:
            found = found.filter(endpoint=self.endpoint)
        if self.tag:
            found = found.tagged(self.tag)
        if self.wanted_check:
            found = found.filter(check_run__done=True)
        # What a queue sends through a model again comes back by itself.
        return found.filter(rework=None).order_by("pk")


class FeedQuerySet(LeasedQuerySet["Feed"]):
    def due(self) -> FeedQuerySet:
        """Those with work left that nobody does just now."""
        return self.free().filter(words_of("state", "waiting")).order_by("pk")


class Feed(Leased):
    """Answers on their way into a queue: of one batch, or of several beside each other.

    A control worker reads the batch's results in turns, notes in `progress_text` how
    far it came, and adds what was chosen. Adding twice adds once.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        DONE = "done"
        FAILED = "failed"

    queue = models.ForeignKey(ReviewQueue, models.CASCADE, related_name="feeds")
    batch = models.ForeignKey(Batch, models.CASCADE, related_name="feeds")
    beside = models.ManyToManyField(Batch, related_name="feeds_beside", blank=True)
    rule = models.ForeignKey(
        FeedRule, models.SET_NULL, null=True, blank=True, related_name="feeds"
    )
    wanted_text = models.TextField(default="{}")
    rows_text = models.TextField(
        blank=True, help_text="JSON of the indexes that a person ticked."
    )
    how = models.CharField(
        max_length=16, choices=Choosing.choices, default=Choosing.ALL
    )
    most = models.PositiveIntegerField(
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_SAMPLED)],
    )
    assigned_to = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="feeds"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.WAITING
    )
    progress_text = models.TextField(default="{}")
    looked_at = models.PositiveIntegerField(default=0)
    added = models.PositiveIntegerField(default=0)
    known = models.PositiveIntegerField(default=0)
    without_answer = models.PositiveIntegerField(default=0)
    problem = models.CharField(max_length=500, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = FeedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # read every few seconds by the control workers
            models.Index(
                fields=["id"], name="feed_waiting", condition=Q(state="waiting")
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["rule", "batch"], name="feed_once_by_rule"),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "done", "failed"]),
                name="feed_state_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.batch} into {self.queue}"

    @cached_property
    def progress(self) -> dict[str, Any]:
        """How far it came, as `feeding` notes it."""
        found: dict[str, Any] = json.loads(self.progress_text)
        return found
