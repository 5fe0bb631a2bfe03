# SPDX-License-Identifier: Apache-2.0
"""The requests of a batch, and the chunks of them that are leased to engines."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from .words import words_of


class BatchRequestQuerySet(models.QuerySet["BatchRequest"]):
    def unanswered(self, batch_id: int) -> BatchRequestQuerySet:
        """Rows of the batch without a result."""
        return self.filter(batch_id=batch_id, result__isnull=True)


class BatchRequest(models.Model):
    """One line of the input file; immutable after intake.

    `body` is the JSON text exactly as received. `run_order` is its place in the order
    of running; exact copies of deterministic requests have `duplicate_of` instead.
    """

    # The constraints below are indexes that begin with the batch: one less to write.
    batch = models.ForeignKey(
        "jobs.Batch", models.CASCADE, related_name="requests", db_index=False
    )
    index = models.PositiveIntegerField(help_text="0-based place among the requests.")
    line = models.PositiveIntegerField(help_text="1-based line in the input file.")
    custom_id = models.CharField(max_length=512)
    url = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    body = models.TextField()
    run_order = models.PositiveIntegerField(null=True)
    duplicate_of = models.ForeignKey(
        "self", models.CASCADE, null=True, related_name="copies", db_index=False
    )

    objects = BatchRequestQuerySet.as_manager()

    class Meta:
        indexes = [
            # read by the feeders: which rows have copies, and by who answers these
            models.Index(
                fields=["duplicate_of"],
                name="request_copies",
                condition=Q(duplicate_of__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["batch", "index"], name="request_index_once"
            ),
            models.UniqueConstraint(
                fields=["batch", "custom_id"], name="request_custom_id_once"
            ),
            # also read by the feeder: the rows of a chunk
            models.UniqueConstraint(
                fields=["batch", "run_order"], name="request_run_order_once"
            ),
            models.CheckConstraint(
                condition=Q(run_order__isnull=True) ^ Q(duplicate_of__isnull=True),
                name="request_runs_or_copies",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.custom_id} (line {self.line})"


class ChunkQuerySet(models.QuerySet["Chunk"]):
    def open(self) -> ChunkQuerySet:
        """Not done yet."""
        return self.filter(words_of("state", "done", negated=True))

    def pending(self) -> ChunkQuerySet:
        """Nobody has leased them."""
        return self.filter(words_of("state", "pending"))

    def leased(self) -> ChunkQuerySet:
        """A feeder has them, or had them when it died."""
        return self.filter(words_of("state", "leased"))

    def overdue(self) -> ChunkQuerySet:
        """Leased, and the lease has run out: anybody may claim them."""
        return self.leased().filter(lease_expires_at__lt=Now())


class Chunk(models.Model):
    """A run of `run_order` of one model: what a feeder leases at a time.

    Each claim raises `lease_epoch`; a writer whose epoch is not the row's has lost
    the chunk and stores nothing.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        LEASED = "leased"
        DONE = "done"

    # As of a request: chunk_start_once begins with the batch.
    batch = models.ForeignKey(
        "jobs.Batch", models.CASCADE, related_name="chunks", db_index=False
    )
    model = models.CharField(max_length=200)
    start = models.PositiveIntegerField(help_text="First run_order.")
    end = models.PositiveIntegerField(help_text="One past the last run_order.")
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    lease_epoch = models.PositiveIntegerField(default=0)
    leased_by = models.CharField(max_length=200, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    engine = models.ForeignKey("jobs.Engine", models.SET_NULL, null=True, blank=True)
    generation = models.PositiveIntegerField(null=True, blank=True)

    objects = ChunkQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            # read by the closing stage
            models.Index(
                fields=["batch", "start"],
                name="chunk_open",
                condition=~Q(state="done"),
            ),
            # read by the feeders' looks and claims
            models.Index(
                fields=["batch", "model", "start"],
                name="chunk_pending",
                condition=Q(state="pending"),
            ),
            # read for shares and for leases that ran out; without their ends, so that
            # putting these ahead touches no index
            models.Index(
                fields=["batch", "start"],
                name="chunk_leased",
                condition=Q(state="leased"),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["batch", "start"], name="chunk_start_once"),
            models.CheckConstraint(
                condition=Q(end__gt=F("start")), name="chunk_not_empty"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "leased", "done"]),
                name="chunk_state_known",
            ),
            models.CheckConstraint(
                condition=Q(state="leased", lease_expires_at__isnull=False)
                & ~Q(leased_by="")
                | Q(
                    state__in=["pending", "done"],
                    lease_expires_at__isnull=True,
                    leased_by="",
                ),
                name="chunk_leased_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id}[{self.start}:{self.end}] {self.state}"
