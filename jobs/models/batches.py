# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import datetime
from functools import cache

from django.db import models
from django.db.models import F, OuterRef, Q, Subquery, Value
from django.db.models.functions import Now
from django.utils import timezone

from batchsite.accounts.models import Team, User
from jobs.ids import may_be_id, new_batch_id
from jobs.kept_sql import kept_rows, sql_of

from .files import BatchFile
from .requests import Chunk
from .tags import HasTag
from .words import words_of


@cache
def _in_team_sql() -> str:
    """Asks for a batch by its team's key and its public id, in this order."""
    found = Batch.objects.visible_to_team(Team(pk=1)).filter(public_id="2")
    return sql_of(found.order_by(), 1, "2")


class BatchQuerySet(models.QuerySet["Batch"]):
    def visible_to_team(self, team: Team) -> BatchQuerySet:
        """What a key of the team may see."""
        return self.filter(team=team).kept()

    def visible_to(self, user: User) -> BatchQuerySet:
        """Batches of the user's teams; all for staff."""
        return self.filter(team__in=Team.objects.visible_to(user)).kept()

    def deleted_for(self, user: User) -> BatchQuerySet:
        """Deleted batches of the user's teams that can still be restored."""
        mine = self.filter(team__in=Team.objects.visible_to(user))
        return mine.filter(remove_at__gt=Now())

    def kept(self) -> BatchQuerySet:
        """Those that nobody deleted."""
        return self.filter(deleted_at__isnull=True)

    def to_remove(self) -> BatchQuerySet:
        """Deleted batches whose time is over, and whose use is all counted."""
        return self.filter(remove_at__lte=Now(), usage_open=False)

    def find(self, public_id: str) -> Batch | None:
        """The batch with that public id, or None."""
        if not may_be_id(public_id):
            return None
        # At most one: an order would only cost time.
        return next(iter(self.filter(public_id=public_id).order_by()), None)

    def find_in_team(self, team: Team, public_id: str) -> Batch | None:
        """The team's batch with that public id, or None: what clients poll.

        As `visible_to_team(team).find(public_id)`, in half the time: Django takes longer
        to put the query together than the database to answer it.
        """
        if not may_be_id(public_id):
            return None
        return next(iter(kept_rows(Batch, _in_team_sql(), team.pk, public_id)), None)

    def for_list(self) -> BatchQuerySet:
        """With everything that a list row or the API object shows."""
        return self.select_related(
            "team", "owner", "input_file", "output_file", "error_file"
        )

    def for_api(self) -> BatchQuerySet:
        """With what the API object shows: the ids of the result files and the parent."""
        return self.annotate(
            output_file_public_id=F("output_file__public_id"),
            error_file_public_id=F("error_file__public_id"),
            parent_public_id=F("parent__public_id"),
        )

    def active(self) -> BatchQuerySet:
        """Not in a final status."""
        return self.filter(words_of("status", *(s.value for s in Batch.ACTIVE)))

    def running(self) -> BatchQuerySet:
        """Engines may take their requests."""
        return self.active().filter(
            status=Batch.Status.IN_PROGRESS,
            paused=False,
            closed_at__isnull=True,
            expires_at__gt=Now(),
        )

    def tagged(self, tag: str) -> BatchQuerySet:
        """With exactly that tag among its tags; reads the rows that are left, no index."""
        if "\0" in tag:
            # Which no tag has, and PostgreSQL takes in no text.
            return self.none()
        return self.filter(HasTag(F("tags"), Value(tag)))

    def past_deadline(self) -> BatchQuerySet:
        """Whose window has ended before the work did."""
        return self.active().filter(
            status__in=[Batch.Status.VALIDATING, Batch.Status.IN_PROGRESS],
            expires_at__lte=Now(),
        )

    def wanting_a_stage(self) -> BatchQuerySet:
        """Batches for which a control worker has something to do, stage lease free.

        That is: intake not finished; closing due because all chunks are done, the
        batch was cancelled or its window ended; files not written.
        """
        # A value, not EXISTS, for which PostgreSQL may read the open chunks of all.
        open_chunks = Chunk.objects.open().filter(batch=OuterRef("pk"))
        first_open = Subquery(open_chunks.order_by("start").values("start")[:1])
        free = Q(stage_lease_expires_at__isnull=True) | Q(
            stage_lease_expires_at__lt=Now()
        )
        # All of these are active, which brings the index.
        return (
            self.active()
            .alias(first_open=first_open)
            .filter(
                free,
                Q(
                    status__in=[
                        Batch.Status.VALIDATING,
                        Batch.Status.FINALIZING,
                        Batch.Status.CANCELLING,
                    ]
                )
                | Q(status=Batch.Status.IN_PROGRESS, first_open__isnull=True)
                | Q(status=Batch.Status.IN_PROGRESS, expires_at__lte=Now()),
            )
        )


class Batch(models.Model):
    """OpenAI's batch object and what Batchsite adds to it.

    `status` is written by jobs/lifecycle.py alone. The counters and `result_seq` move
    only in the transaction that inserts the results they count. Delivery: an engine
    may see a request more than once, its result is stored exactly once.
    """

    class Status(models.TextChoices):
        VALIDATING = "validating"
        FAILED = "failed"
        IN_PROGRESS = "in_progress"
        FINALIZING = "finalizing"
        COMPLETED = "completed"
        EXPIRED = "expired"
        CANCELLING = "cancelling"
        CANCELLED = "cancelled"

    ACTIVE = (
        Status.VALIDATING,
        Status.IN_PROGRESS,
        Status.FINALIZING,
        Status.CANCELLING,
    )
    TERMINAL = (Status.FAILED, Status.COMPLETED, Status.EXPIRED, Status.CANCELLED)

    class ClosingReason(models.TextChoices):
        NONE = ""
        DONE = "done"
        CANCELLED = "cancelled"
        EXPIRED = "expired"

    class OutputOrder(models.TextChoices):
        INPUT = "input"
        COMPLETION = "completion"

    public_id = models.CharField(
        max_length=40, unique=True, default=new_batch_id, editable=False
    )
    team = models.ForeignKey(Team, models.PROTECT, related_name="batches")
    owner = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="batches"
    )
    name = models.CharField(max_length=200, blank=True)
    tags = models.JSONField(default=list, blank=True)
    priority = models.SmallIntegerField(
        default=0, help_text="Higher runs first within the team's share."
    )
    paused = models.BooleanField(default=False)
    dedupe = models.BooleanField(
        default=True, help_text="Exact copies of deterministic requests run once."
    )
    allow_mixed_models = models.BooleanField(
        default=False, help_text="Lines may name different models."
    )
    output_order = models.CharField(
        max_length=10, choices=OutputOrder.choices, default=OutputOrder.INPUT
    )
    parent = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="children"
    )
    derivation = models.JSONField(
        null=True,
        blank=True,
        help_text="How the input was made from the parent's, such as which rows and"
        " what was changed in them.",
    )
    webhook_url = models.URLField(max_length=500, blank=True)
    check_count = models.PositiveSmallIntegerField(
        default=0, help_text="How many checks its answers are put to."
    )

    endpoint = models.CharField(max_length=64)
    completion_window = models.CharField(max_length=10, default="24h")
    metadata = models.JSONField(null=True, blank=True)
    output_expires_after = models.PositiveIntegerField(
        null=True, blank=True, help_text="Seconds after the output file's creation."
    )
    input_file_ref = models.CharField(
        max_length=100, help_text="The file id as the client gave it."
    )
    input_file = models.ForeignKey(
        BatchFile, models.PROTECT, null=True, blank=True, related_name="batches"
    )
    output_file = models.OneToOneField(
        BatchFile, models.PROTECT, null=True, blank=True, related_name="output_of"
    )
    error_file = models.OneToOneField(
        BatchFile, models.PROTECT, null=True, blank=True, related_name="errors_of"
    )
    model = models.CharField(max_length=200, blank=True)

    status = models.CharField(
        max_length=12, choices=Status.choices, default=Status.VALIDATING
    )
    errors = models.JSONField(
        null=True, blank=True, help_text="OpenAI's errors list of a failed batch."
    )
    error_report = models.CharField(
        max_length=200, blank=True, help_text="Storage name of all bad lines, as JSONL."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    in_progress_at = models.DateTimeField(null=True, blank=True)
    finalizing_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    expired_at = models.DateTimeField(null=True, blank=True)
    cancelling_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    expected_requests = models.PositiveIntegerField(
        default=0, help_text="Lines of the input file, until intake has counted."
    )
    expected_tokens = models.PositiveBigIntegerField(
        default=0, help_text="Estimated input tokens, as counted against the limits."
    )
    progress_told = models.PositiveSmallIntegerField(
        default=0, help_text="Last per cent of progress that webhooks were told of."
    )
    total = models.PositiveIntegerField(default=0)
    completed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    cached_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    reasoning_tokens = models.PositiveBigIntegerField(default=0)
    result_seq = models.PositiveIntegerField(
        default=0, help_text="seq of the newest result; results are 1..result_seq."
    )

    usage_open = models.BooleanField(
        default=True,
        editable=False,
        help_text="Its counters are not all in Usage yet; jobs/usage.py.",
    )

    stalled_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Requests are in flight and none was answered since; jobs/stalls.py.",
    )

    closing_reason = models.CharField(
        max_length=10, choices=ClosingReason.choices, blank=True
    )
    closed_at = models.DateTimeField(
        null=True, blank=True, help_text="From here on no engine's result is taken."
    )
    deleted_at = models.DateTimeField(
        null=True, blank=True, help_text="Nobody sees it from here on; jobs/removal.py."
    )
    deleted_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="deleted_batches"
    )
    remove_at = models.DateTimeField(
        null=True, blank=True, help_text="From here on its rows and files are removed."
    )
    stage_owner = models.CharField(max_length=200, blank=True)
    stage_epoch = models.PositiveIntegerField(default=0)
    stage_lease_expires_at = models.DateTimeField(null=True, blank=True)

    objects = BatchQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "batches"
        ordering = ["-id"]
        indexes = [
            # read by the batch lists, newest first
            models.Index(fields=["team", "-id"], name="batch_of_team"),
            # read by the scheduler, the reaper and the home page
            models.Index(
                fields=["status", "id"],
                name="batch_active",
                condition=Q(
                    status__in=["validating", "in_progress", "finalizing", "cancelling"]
                ),
            ),
            # read by the chore that counts usage
            models.Index(
                fields=["id"], name="batch_usage_open", condition=Q(usage_open=True)
            ),
            # read by the list of deleted batches, and by the chore that removes them
            models.Index(
                fields=["remove_at"],
                name="batch_removal",
                condition=Q(remove_at__isnull=False),
            ),
            # read by the home page: what ended within a day
            *(
                models.Index(
                    fields=[f"{ended}_at"],
                    name=f"batch_{ended}",
                    condition=Q(**{f"{ended}_at__isnull": False}),
                )
                for ended in ("completed", "failed", "expired")
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(stalled_since__isnull=True) | Q(status="in_progress"),
                name="batch_stalls_while_it_runs",
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=[
                        "validating",
                        "failed",
                        "in_progress",
                        "finalizing",
                        "completed",
                        "expired",
                        "cancelling",
                        "cancelled",
                    ]
                ),
                name="batch_status_known",
            ),
            models.CheckConstraint(
                condition=Q(total__gte=F("completed") + F("failed")),
                name="batch_counts_within_total",
            ),
            models.CheckConstraint(
                condition=Q(result_seq=F("completed") + F("failed")),
                name="batch_seq_counts_results",
            ),
            models.CheckConstraint(
                condition=Q(output_order__in=["input", "completion"]),
                name="batch_output_order_known",
            ),
            models.CheckConstraint(
                condition=Q(progress_told__lte=100), name="batch_progress_is_percent"
            ),
            models.CheckConstraint(
                condition=Q(closing_reason__in=["", "done", "cancelled", "expired"]),
                name="batch_closing_reason_known",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | ~Q(closing_reason=""),
                name="batch_closed_for_a_reason",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["completed", "expired", "cancelled"])
                | Q(closed_at__isnull=False),
                name="batch_ended_is_closed",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["completed", "expired", "cancelled"])
                | Q(total=F("completed") + F("failed")),
                name="batch_ended_is_counted",
            ),
            models.CheckConstraint(
                condition=~Q(status="failed") | Q(total=0, errors__isnull=False),
                name="batch_failed_ran_nothing",
            ),
            models.CheckConstraint(
                condition=Q(stage_owner="", stage_lease_expires_at__isnull=True)
                | (~Q(stage_owner="") & Q(stage_lease_expires_at__isnull=False)),
                name="batch_stage_owned_whole",
            ),
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True, remove_at__isnull=True)
                | Q(
                    deleted_at__isnull=False,
                    remove_at__isnull=False,
                    status__in=["failed", "completed", "expired", "cancelled"],
                ),
                name="batch_deleted_has_ended",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")),
                name="batch_expires_after_creation",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.public_id

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in self.TERMINAL

    @property
    def remaining(self) -> int:
        """Requests without a result."""
        return self.total - self.completed - self.failed

    @property
    def ended_at(self) -> datetime | None:
        """When the final status was reached."""
        return (
            self.completed_at or self.failed_at or self.expired_at or self.cancelled_at
        )
