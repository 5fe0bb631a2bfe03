# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from batchsite.accounts.models import User
from curation.ids import new_item_id
from jobs.ids import may_be_id
from jobs.models import Batch, Result
from jobs.models.words import words_of

from .queues import ReviewQueue


class ItemQuerySet(models.QuerySet["ReviewItem"]):
    def find(self, public_id: str) -> ReviewItem | None:
        """The item with that public id, or None."""
        return (
            self.filter(public_id=public_id).first() if may_be_id(public_id) else None
        )

    def for_api(self) -> ItemQuerySet:
        """With what an item's object names."""
        return self.select_related(
            "queue__team", "queue__rubric_version__rubric", "version", "assigned_to"
        )

    def by_custom_id(self, custom_id: str) -> ItemQuerySet:
        """Those whose newest version is of a request of that name."""
        if not custom_id or "\0" in custom_id:
            return self.none()
        return self.filter(version__custom_id=custom_id).order_by("id")

    def gold(self, queue: ReviewQueue) -> ItemQuerySet:
        """Those whose right answers are known, by their index."""
        known = words_of("gold_text", "", negated=True)
        return self.filter(known, queue=queue).order_by("id")

    def waiting(self, queue: ReviewQueue) -> ItemQuerySet:
        """Those that are still to be judged, the most urgent first, by their index."""
        open_ones = words_of("state", "pending", "in_progress")
        return self.filter(open_ones, queue=queue, submitted__lt=F("needed")).order_by(
            "-priority", "id"
        )

    def disputed(self, queue: ReviewQueue) -> ItemQuerySet:
        """Those that wait for a person's word, the furthest apart first, by their index."""
        waiting = words_of("state", "awaiting_resolution")
        return self.filter(waiting, queue=queue).order_by("-severity", "id")

    def behind(self, item: ReviewItem, *, by_severity: bool = False) -> ItemQuerySet:
        """Those that follow the item in the order of `disputed`, or of their age."""
        if not by_severity:
            return self.filter(pk__gt=item.pk)
        same = Q(severity=item.severity, pk__gt=item.pk)
        return self.filter(Q(severity__lt=item.severity) | same)

    def for_reviewer(self, user: User) -> ItemQuerySet:
        """Those that the person has neither judged nor skipped, and may."""
        answered = Response.objects.filter(
            version=OuterRef("version"), user=user, state=Response.State.SUBMITTED
        )
        skipped = Skip.objects.filter(version=OuterRef("version"), user=user)
        mine = Q(assigned_to=None) | Q(assigned_to=user)
        return self.filter(mine, ~Exists(answered), ~Exists(skipped))


class ReviewItem(models.Model):
    """One thing that people judge: the answer, or answers, to one request.

    `submitted` counts the judgements of its newest version and moves only with them,
    under the lock of this row; no more than `needed` are ever counted.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        IN_PROGRESS = "in_progress"
        AWAITING_RESOLUTION = "awaiting_resolution"
        COMPLETED = "completed"
        EXCLUDED = "excluded"

    public_id = models.CharField(
        max_length=40, unique=True, default=new_item_id, editable=False
    )
    # The constraints and indexes below begin with the queue.
    queue = models.ForeignKey(
        ReviewQueue, models.CASCADE, related_name="items", db_index=False
    )
    key = models.CharField(
        max_length=600, help_text="What it is, so that nothing is in a queue twice."
    )
    state = models.CharField(
        max_length=20, choices=State.choices, default=State.PENDING
    )
    version = models.ForeignKey(
        "ItemVersion", models.RESTRICT, null=True, blank=True, related_name="+"
    )
    needed = models.PositiveSmallIntegerField(default=1)
    submitted = models.PositiveSmallIntegerField(default=0)
    priority = models.SmallIntegerField(default=0, help_text="Higher comes first.")
    assigned_to = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="assigned_items"
    )
    severity = models.FloatField(
        default=0.0, help_text="How far the judgements are apart, 0 to 1."
    )
    flagged = models.BooleanField(default=False)
    flag_reason = models.CharField(max_length=500, blank=True)
    gold_text = models.TextField(
        blank=True, help_text="JSON of the right answers; with them it is a gold item."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = ItemQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            # read by each reviewer who asks for the next item
            models.Index(
                F("queue"),
                F("priority").desc(),
                F("id"),
                name="item_waiting",
                condition=Q(state__in=["pending", "in_progress"]),
            ),
            # read by whoever resolves what people disagree about
            models.Index(
                F("queue"),
                F("severity").desc(),
                F("id"),
                name="item_disputed",
                condition=Q(state="awaiting_resolution"),
            ),
            # read by the list of all items, and by datasets and tasks made of them
            models.Index(fields=["queue", "id"], name="item_of_queue"),
            # read by lists and counts of a queue's items
            models.Index(fields=["queue", "state", "id"], name="item_by_state"),
            # read by reviewers who get a gold item, and by counts of them
            models.Index(
                fields=["queue", "id"], name="item_gold", condition=~Q(gold_text="")
            ),
            # read by whoever looks after flagged items
            models.Index(
                fields=["queue", "id"], name="item_flagged", condition=Q(flagged=True)
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["queue", "key"], name="item_once"),
            models.CheckConstraint(
                condition=Q(
                    state__in=[
                        "pending",
                        "in_progress",
                        "awaiting_resolution",
                        "completed",
                        "excluded",
                    ]
                ),
                name="item_state_known",
            ),
            models.CheckConstraint(
                condition=Q(submitted__lte=F("needed")) | ~Q(gold_text=""),
                name="item_judged_no_more_than_needed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.queue_id}: {self.key}"

    @property
    def is_gold(self) -> bool:
        """Whether its right answers are known."""
        return bool(self.gold_text)


class ItemVersion(models.Model):
    """What reviewers see of an item; a corrected prompt or another model makes a new one.

    A copy: it outlives the batch that it came from. Claims, responses, skips and
    resolutions belong to a version, so that a new one is judged anew.
    """

    # The constraint below is an index that begins with the item.
    item = models.ForeignKey(
        ReviewItem, models.CASCADE, related_name="versions", db_index=False
    )
    number = models.PositiveIntegerField(default=1)
    custom_id = models.CharField(max_length=512, blank=True)
    endpoint = models.CharField(max_length=64, blank=True)
    request_body = models.TextField()
    why = models.CharField(
        max_length=200, blank=True, help_text="Why there is another version."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["number"]
        indexes = [
            # read by who looks for an item by the name of its request
            models.Index(fields=["custom_id"], name="item_version_by_custom_id"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["item", "number"], name="item_version_once")
        ]

    def __str__(self) -> str:
        return f"{self.item_id} v{self.number}"


class Candidate(models.Model):
    """One answer of an item's version, at its `place` from 0, and where it is from."""

    # The constraint below is an index that begins with the version.
    version = models.ForeignKey(
        ItemVersion, models.CASCADE, related_name="candidates", db_index=False
    )
    place = models.PositiveSmallIntegerField(default=0)
    result = models.ForeignKey(
        Result, models.SET_NULL, null=True, blank=True, related_name="candidates"
    )
    # The index below begins with the batch.
    batch = models.ForeignKey(
        Batch,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="candidates",
        db_index=False,
    )
    index = models.PositiveIntegerField(
        default=0, help_text="The result's place in its batch."
    )
    batch_code = models.CharField(max_length=40)
    model = models.CharField(max_length=200)
    provenance = models.JSONField(default=dict)
    body = models.TextField(help_text="The engine's answer as received.")
    finish_reason = models.CharField(max_length=32, blank=True)

    class Meta:
        ordering = ["place"]
        indexes = [
            # read by whoever filters a batch's results by their reviews
            models.Index(fields=["batch", "index"], name="candidate_of_batch"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "place"], name="candidate_place_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.version_id}/{self.place} of {self.model}"


class ClaimQuerySet(models.QuerySet["Claim"]):
    def live(self) -> ClaimQuerySet:
        """Those that still hold their item, by the database's clock."""
        return self.filter(expires_at__gt=Now())


class Claim(models.Model):
    """An item's version that is held for one reviewer until `expires_at`."""

    version = models.ForeignKey(
        ItemVersion, models.CASCADE, related_name="claims", db_index=False
    )
    user = models.ForeignKey(User, models.CASCADE, related_name="claims")
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ClaimQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "user"], name="claim_once")
        ]

    def __str__(self) -> str:
        return f"{self.version_id} for {self.user_id}"


class ResponseQuerySet(models.QuerySet["Response"]):
    def submitted(self) -> ResponseQuerySet:
        """Those that count."""
        return self.filter(state=Response.State.SUBMITTED)


class Response(models.Model):
    """What one person says of a version: a draft, or submitted.

    `layout` are the candidates' places in the order in which the person saw them.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        SUBMITTED = "submitted"

    version = models.ForeignKey(
        ItemVersion, models.CASCADE, related_name="responses", db_index=False
    )
    user = models.ForeignKey(User, models.PROTECT, related_name="responses")
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT)
    answers_text = models.TextField(default="{}")
    layout = models.JSONField(default=list)
    seconds = models.FloatField(
        default=0, help_text="How long the person had the item before the eyes."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now)
    submitted_at = models.DateTimeField(null=True, blank=True)

    objects = ResponseQuerySet.as_manager()

    class Meta:
        indexes = [
            # read by what a reviewer did, newest first
            models.Index(
                fields=["user", "-submitted_at"],
                name="response_of_person",
                condition=Q(state="submitted"),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["version", "user"], name="response_once"),
            models.CheckConstraint(
                condition=Q(state="draft", submitted_at__isnull=True)
                | Q(state="submitted", submitted_at__isnull=False),
                name="response_submitted_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version_id} by {self.user_id}, {self.state}"

    @cached_property
    def answers(self) -> dict[str, Any]:
        """Answers by the key of their question."""
        found: dict[str, Any] = json.loads(self.answers_text)
        return found


class Skip(models.Model):
    """One person will not judge a version; it counts as no judgement."""

    version = models.ForeignKey(
        ItemVersion, models.CASCADE, related_name="skips", db_index=False
    )
    user = models.ForeignKey(User, models.CASCADE, related_name="skips")
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "user"], name="skip_once")
        ]

    def __str__(self) -> str:
        return f"{self.version_id} skipped by {self.user_id}"


class Resolution(models.Model):
    """What holds of a version in the end; one of each, by constraint."""

    class How(models.TextChoices):
        SINGLE = "single", "the only judgement"
        UNANIMOUS = "unanimous", "all agreed"
        MAJORITY = "majority", "the majority"
        WEIGHTED = "weighted", "the majority, weighted by accuracy"
        PERSON = "person", "a person decided"
        IDENTICAL = "identical", "the answers are the same"

    version = models.OneToOneField(
        ItemVersion, models.CASCADE, related_name="resolution"
    )
    how = models.CharField(max_length=10, choices=How.choices)
    chosen = models.ForeignKey(
        Response, models.SET_NULL, null=True, blank=True, related_name="resolutions"
    )
    answers_text = models.TextField(default="{}")
    by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="resolutions"
    )
    note = models.CharField(max_length=2000, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.version_id} by {self.how}"

    @cached_property
    def answers(self) -> dict[str, Any]:
        """Answers by the key of their question."""
        found: dict[str, Any] = json.loads(self.answers_text)
        return found


class ReviewEvent(models.Model):
    """What happened to an item: its history, and what an undo takes back. Append-only."""

    item = models.ForeignKey(ReviewItem, models.CASCADE, related_name="events")
    version = models.ForeignKey(
        ItemVersion, models.CASCADE, null=True, blank=True, related_name="+"
    )
    user = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="review_events"
    )
    kind = models.CharField(max_length=30)
    message = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]
        indexes = [
            # read by a reviewer's undo
            models.Index(fields=["user", "-id"], name="review_event_of_person"),
        ]

    def __str__(self) -> str:
        return f"{self.item_id} {self.kind}"
