# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .batches import Batch


class BatchEstimate(models.Model):
    """What was expected of a batch when it began to run, and what came of it.

    Times are seconds of one engine that runs nothing else. What came is filled in once,
    by jobs/track_record.py, when the batch has ended.
    """

    batch = models.OneToOneField(Batch, models.CASCADE, related_name="estimate")
    model = models.CharField(
        max_length=200, blank=True, help_text="Empty for several models."
    )
    endpoint = models.CharField(max_length=64)
    made_at = models.DateTimeField(default=timezone.now, editable=False)
    rows = models.PositiveIntegerField(
        help_text="Requests to run; copies of others are left out."
    )
    input_tokens = models.PositiveBigIntegerField()
    output_tokens = models.PositiveBigIntegerField(null=True)
    seconds = models.FloatField(null=True)
    seconds_low = models.FloatField(null=True)
    seconds_high = models.FloatField(null=True)
    basis = models.TextField(help_text="What the figures rest on, in words.")

    settled_at = models.DateTimeField(null=True)
    ran_seconds = models.FloatField(
        null=True, help_text="Not known for the reason in the note."
    )
    ran_input_tokens = models.PositiveBigIntegerField(null=True)
    ran_output_tokens = models.PositiveBigIntegerField(null=True)
    note = models.TextField(blank=True)
    characters = models.PositiveBigIntegerField(
        default=0, help_text="Of the bodies of some answered requests."
    )
    character_tokens = models.PositiveBigIntegerField(
        default=0, help_text="Input tokens of the same requests."
    )
    lengths = models.JSONField(
        default=dict, help_text="How long their answers were, see jobs/lengths.py."
    )

    class Meta:
        indexes = [
            # read by estimates of batches of the same model
            models.Index(
                fields=["model", "-settled_at"],
                name="estimate_settled",
                condition=Q(settled_at__isnull=False),
            ),
            # read by the chore that settles
            models.Index(
                fields=["made_at"],
                name="estimate_open",
                condition=Q(settled_at__isnull=True),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    seconds__isnull=True,
                    seconds_low__isnull=True,
                    seconds_high__isnull=True,
                )
                | Q(
                    seconds_low__gte=0,
                    seconds__gte=models.F("seconds_low"),
                    seconds_high__gte=models.F("seconds"),
                ),
                name="estimate_is_a_range",
            ),
        ]

    def __str__(self) -> str:
        return f"estimate of {self.batch_id}"
