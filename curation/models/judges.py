# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.db import models
from django.utils import timezone

from batchsite.accounts.models import User
from jobs.models import Batch

from .queues import ReviewQueue


class JudgeRun(models.Model):
    """A queue's rubric put to a model, as a batch of its own; `items` is how many."""

    queue = models.ForeignKey(ReviewQueue, models.CASCADE, related_name="judge_runs")
    batch = models.OneToOneField(Batch, models.CASCADE, related_name="judge_run")
    model = models.CharField(max_length=200)
    items = models.PositiveIntegerField()
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="judge_runs"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.queue}: {self.model}"
