# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .batches import Batch


class BatchEvent(models.Model):
    """History of a batch: each status move and each notable fact; append-only."""

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="events")
    kind = models.CharField(max_length=32)
    old_status = models.CharField(max_length=12, blank=True)
    new_status = models.CharField(max_length=12, blank=True)
    message = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.kind} {self.new_status}".strip()


class WebhookDelivery(models.Model):
    """The outbox: inserted in the transaction of the event that it tells of.

    `payload` is the exact text that is signed and sent.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="webhook_deliveries")
    event = models.OneToOneField(BatchEvent, models.CASCADE)
    url = models.URLField(max_length=500)
    payload = models.TextField()
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.PENDING
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    status_code = models.PositiveSmallIntegerField(null=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        ordering = ["id"]
        indexes = [
            # read by the delivery poke
            models.Index(
                fields=["next_attempt_at"],
                name="delivery_due",
                condition=Q(state="pending"),
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["pending", "delivered", "failed"]),
                name="delivery_state_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.url}"
