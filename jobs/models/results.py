# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .batches import Batch
from .requests import BatchRequest
from .words import words_of


class ResultQuerySet(models.QuerySet["Result"]):
    def with_custom_ids(self) -> ResultQuerySet:
        """With the requests, but not their bodies."""
        return self.select_related("request").defer("request__body")

    def failed(self) -> ResultQuerySet:
        """Rows for the error file."""
        return self.filter(words_of("outcome", "failed"))


class Result(models.Model):
    """The answer to one request; append-only.

    unique(request) is what makes results exactly-once; `seq` is gapless per batch in
    commit order and is the cursor of partial results. `body` is the engine's answer
    as received; a row that never got one has `error_code` and `error_message`.
    """

    class Outcome(models.TextChoices):
        COMPLETED = "completed"
        FAILED = "failed"

    request = models.OneToOneField(BatchRequest, models.CASCADE, related_name="result")
    # The constraints below are indexes that begin with the batch: one less to write.
    batch = models.ForeignKey(
        Batch, models.CASCADE, related_name="results", db_index=False
    )
    index = models.PositiveIntegerField()
    seq = models.PositiveIntegerField()
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    status_code = models.PositiveSmallIntegerField(null=True)
    engine_request_id = models.CharField(max_length=100, blank=True)
    body = models.TextField(blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    error_class = models.CharField(
        max_length=64,
        blank=True,
        help_text="What the row has in common with others that failed; jobs/failures.py.",
    )
    finish_reason = models.CharField(max_length=32, blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    reasoning_tokens = models.PositiveIntegerField(default=0)
    latency_ms = models.PositiveIntegerField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    engine = models.ForeignKey("jobs.Engine", models.SET_NULL, null=True)
    provenance = models.JSONField(
        default=dict,
        help_text="Engine name and generation, vLLM version, model revision, what was rewritten, what was copied.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ResultQuerySet.as_manager()

    class Meta:
        indexes = [
            # read by the failed rows of a batch
            models.Index(
                fields=["batch", "index"],
                name="result_failed",
                condition=Q(outcome="failed"),
            ),
            # read by the groups of failed rows
            models.Index(
                fields=["batch", "error_class", "index"],
                name="result_by_error",
                condition=Q(outcome="failed"),
            ),
            # read by the filter for how answers ended; nearly all end with "stop"
            models.Index(
                fields=["batch", "finish_reason", "index"],
                name="result_by_finish",
                condition=~Q(finish_reason__in=["", "stop"]),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["batch", "index"], name="result_index_once"
            ),
            models.UniqueConstraint(fields=["batch", "seq"], name="result_seq_once"),
            models.CheckConstraint(
                condition=Q(outcome="completed", status_code=200, error_code="")
                | Q(outcome="failed"),
                name="result_completed_is_200",
            ),
            models.CheckConstraint(
                condition=Q(status_code__isnull=False, error_code="") & ~Q(body="")
                | Q(status_code__isnull=True, body="") & ~Q(error_code=""),
                name="result_answer_or_error",
            ),
            models.CheckConstraint(
                condition=Q(outcome="completed", error_class="")
                | Q(outcome="failed") & ~Q(error_class=""),
                name="result_failed_has_class",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id}#{self.index} {self.outcome}"


class FailureCount(models.Model):
    """How many rows of a batch failed with errors of one class within an hour.

    Moves in the transaction that stores the rows, so that no page counts them.
    """

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="failure_counts")
    error_class = models.CharField(max_length=64)
    hour = models.DateTimeField()
    rows = models.PositiveIntegerField()
    newest_at = models.DateTimeField()

    class Meta:
        indexes = [
            # read by the failures of the last day
            models.Index(fields=["hour"], name="failure_count_hour")
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["batch", "error_class", "hour"], name="failure_count_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.error_class}: {self.rows}"


class Suspect(models.Model):
    """A request that was in flight when its engine died unasked.

    Suspects run last and apart, in parts (jobs/suspects.py): `group` is how many were
    in flight together at the last death. A row is poison only after two deaths alone.
    """

    request = models.OneToOneField(BatchRequest, models.CASCADE, related_name="suspect")
    deaths = models.PositiveSmallIntegerField(default=0)
    lonely_deaths = models.PositiveSmallIntegerField(default=0)
    group = models.PositiveIntegerField(default=1)
    last_engine = models.ForeignKey("jobs.Engine", models.SET_NULL, null=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(deaths__gte=models.F("lonely_deaths")),
                name="suspect_lonely_deaths_counted",
            )
        ]

    def __str__(self) -> str:
        return f"request {self.request_id}: {self.deaths} engine deaths"
