# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.db import models
from django.utils import timezone

from .batches import Batch


class BatchEvent(models.Model):
    """History of a batch: each status move and each notable fact; append-only."""

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="events")
    kind = models.CharField(max_length=32)
    old_status = models.CharField(max_length=12, blank=True)
    new_status = models.CharField(max_length=12, blank=True)
    message = models.TextField(blank=True)
    data = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.kind} {self.new_status}".strip()
