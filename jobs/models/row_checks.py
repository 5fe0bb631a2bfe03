# SPDX-License-Identifier: Apache-2.0
"""Checks over the answers of a batch: what to check, how far that is, what came of it."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now, Substr
from django.utils import timezone

from .batches import Batch
from .results import Result


class RowCheck(models.Model):
    """One check of a batch; it never changes, and its results are 1..checked_seq.

    The counters move with `checked_seq`, in the transaction that stores the outcomes
    they count. `params` are JSON text, for PostgreSQL takes not all JSON as such.
    """

    # The constraints below are indexes that begin with the batch.
    batch = models.ForeignKey(
        Batch, models.CASCADE, related_name="row_checks", db_index=False
    )
    position = models.PositiveSmallIntegerField(
        help_text="Which letter of a row's outcomes is this check's."
    )
    name = models.CharField(max_length=40)
    kind = models.CharField(max_length=20)
    params = models.TextField(default="{}")
    checked_seq = models.PositiveIntegerField(default=0)
    passed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    not_applicable = models.PositiveIntegerField(default=0)
    errors = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["batch", "position"], name="row_check_position_once"
            ),
            models.UniqueConstraint(
                fields=["batch", "name"], name="row_check_name_once"
            ),
            models.CheckConstraint(
                condition=Q(
                    checked_seq=F("passed")
                    + F("failed")
                    + F("not_applicable")
                    + F("errors")
                ),
                name="row_check_counts_rows",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class CheckRunQuerySet(models.QuerySet["CheckRun"]):
    def free(self) -> CheckRunQuerySet:
        """Not done, and nobody is at it: those that wait longest come first."""
        return self.filter(done=False, free_at__lte=Now()).order_by("free_at")


class CheckRun(models.Model):
    """Who runs a batch's checks, apart from its row, which engines' results lock.

    Whoever takes it raises `epoch` and puts `free_at` ahead; outcomes are stored only
    with that epoch. A batch without checks has no such row.
    """

    batch = models.OneToOneField(
        Batch, models.CASCADE, related_name="check_run", primary_key=True
    )
    epoch = models.PositiveIntegerField(default=0)
    free_at = models.DateTimeField(default=timezone.now)
    done = models.BooleanField(
        default=False, help_text="The batch has ended and each result was checked."
    )

    objects = CheckRunQuerySet.as_manager()

    class Meta:
        indexes = [
            # read every few seconds by the control workers
            models.Index(
                fields=["free_at"], name="check_run_open", condition=Q(done=False)
            ),
        ]

    def __str__(self) -> str:
        return f"checks of {self.batch_id}"


class RowOutcomeQuerySet(models.QuerySet["RowOutcome"]):
    def flagged(self) -> RowOutcomeQuerySet:
        """Where a check failed or could not tell, by the partial index."""
        return self.filter(flagged=True)

    def with_letter(self, position: int, letter: str) -> RowOutcomeQuerySet:
        """Where the check at that position said so."""
        return self.alias(said=Substr("letters", position + 1, 1)).filter(said=letter)

    def with_any_letter(self, letter: str) -> RowOutcomeQuerySet:
        """Where any check said so."""
        return self.filter(letters__contains=letter)


class RowOutcome(models.Model):
    """What the checks said of one result: a letter for each, in their order.

    "p" passed, "f" failed, "n" not applicable, "e" an error of the check, "-" not
    checked yet. `reasons` is a JSON object: the position of a check to its words.
    """

    result = models.OneToOneField(
        Result, models.CASCADE, related_name="row_outcome", primary_key=True
    )
    batch = models.ForeignKey(
        Batch, models.CASCADE, related_name="row_outcomes", db_index=False
    )
    index = models.PositiveIntegerField()
    letters = models.CharField(max_length=20)
    reasons = models.TextField(blank=True)
    failed = models.PositiveSmallIntegerField(
        default=0, help_text="How many checks failed."
    )
    flagged = models.BooleanField(
        default=False, help_text="A check failed or could not tell."
    )

    objects = RowOutcomeQuerySet.as_manager()

    class Meta:
        indexes = [
            # read by the rows of a batch that a check flagged
            models.Index(
                fields=["batch", "index", "letters"],
                name="row_outcome_flagged",
                condition=Q(flagged=True),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["batch", "index"], name="row_outcome_once"),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id}#{self.index} {self.letters}"
