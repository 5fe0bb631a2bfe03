# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from batchsite.accounts.models import User
from jobs.models import Batch

from .items import ReviewItem
from .queues import ReviewQueue


class ReworkQuerySet(models.QuerySet["Rework"]):
    def due(self) -> ReworkQuerySet:
        """Those whose batch has ended and whose answers are not all in the queue yet."""
        return self.filter(
            applied_at__isnull=True, batch__status__in=Batch.TERMINAL
        ).order_by("pk")


class Rework(models.Model):
    """Items whose requests run once more, in a child batch; its answers are new versions."""

    queue = models.ForeignKey(ReviewQueue, models.CASCADE, related_name="reworks")
    batch = models.OneToOneField(Batch, models.CASCADE, related_name="rework")
    items = models.ManyToManyField(ReviewItem, related_name="reworks")
    note = models.CharField(max_length=2000, blank=True)
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="reworks"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    applied_at = models.DateTimeField(null=True, blank=True)

    objects = ReworkQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # read every few seconds by the control workers
            models.Index(
                fields=["id"], name="rework_open", condition=Q(applied_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.queue}: {self.batch}"
