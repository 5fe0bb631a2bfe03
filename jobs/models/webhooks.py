# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from batchsite.accounts.models import Team, User
from jobs.ids import may_be_id, new_message_id, new_webhook_id

from .batches import Batch
from .events import BatchEvent
from .words import words_of


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    def visible_to(self, user: User) -> WebhookEndpointQuerySet:
        """Endpoints of the user's teams; all for staff."""
        return self.filter(team__in=Team.objects.visible_to(user))

    def enabled(self) -> WebhookEndpointQuerySet:
        """Those that are told."""
        return self.filter(disabled_at__isnull=True)

    def find(self, public_id: str) -> WebhookEndpoint | None:
        """The endpoint with that public id, or None."""
        return (
            self.filter(public_id=public_id).first() if may_be_id(public_id) else None
        )


class WebhookEndpoint(models.Model):
    """An address of the team that is told of its batches.

    The signing secret is not stored: it follows from SECRET_KEY, the public id and
    `secret_version` (jobs/webhooks/signing.py).
    """

    public_id = models.CharField(
        max_length=40, unique=True, default=new_webhook_id, editable=False
    )
    team = models.ForeignKey(Team, models.CASCADE, related_name="webhook_endpoints")
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True)
    url = models.URLField(max_length=500)
    description = models.CharField(max_length=200, blank=True)
    events = models.JSONField(
        default=list, help_text="Event types such as batch.completed; empty: all."
    )
    secret_version = models.PositiveIntegerField(default=1, editable=False)
    secret_rotated_at = models.DateTimeField(null=True, blank=True, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = WebhookEndpointQuerySet.as_manager()

    class Meta:
        ordering = ["team", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["team", "url"], name="webhook_url_once_a_team"
            ),
            models.CheckConstraint(condition=~Q(url=""), name="webhook_has_url"),
        ]

    def __str__(self) -> str:
        return self.url


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def visible_to(self, user: User) -> WebhookDeliveryQuerySet:
        """Deliveries of the user's teams; all for staff."""
        return self.filter(team__in=Team.objects.visible_to(user))

    def due(self) -> WebhookDeliveryQuerySet:
        """Not delivered, and the time of the next attempt has come."""
        return self.filter(words_of("state", "pending"), next_attempt_at__lte=Now())

    def find(self, public_id: str) -> WebhookDelivery | None:
        """The delivery with that public id, or None."""
        return (
            self.filter(public_id=public_id).first() if may_be_id(public_id) else None
        )


class WebhookDelivery(models.Model):
    """The outbox: inserted in the transaction of the event that it tells of.

    `payload` is the exact text that is signed and sent; `public_id` is the message's
    webhook-id, the same in every attempt. Without an `endpoint` it goes to the batch's
    own address, or it is a test message. Delivered at least once.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    public_id = models.CharField(
        max_length=40, unique=True, default=new_message_id, editable=False
    )
    team = models.ForeignKey(Team, models.CASCADE, related_name="webhook_deliveries")
    endpoint = models.ForeignKey(
        WebhookEndpoint,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="deliveries",
    )
    batch = models.ForeignKey(
        Batch,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="webhook_deliveries",
    )
    event = models.ForeignKey(
        BatchEvent,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="webhook_deliveries",
    )
    type = models.CharField(max_length=50)
    url = models.URLField(max_length=500)
    payload = models.TextField()
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.PENDING
    )
    attempts_made = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "webhook deliveries"
        ordering = ["-id"]
        indexes = [
            # read by the delivery poke
            models.Index(
                fields=["next_attempt_at"],
                name="delivery_due",
                condition=Q(state="pending"),
            ),
            # read by the delivery log of a team
            models.Index(fields=["team", "-id"], name="delivery_of_team"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["pending", "delivered", "failed"]),
                name="delivery_state_known",
            ),
            models.UniqueConstraint(
                fields=["event", "url"], name="delivery_once_an_address"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.url}"

    @property
    def is_batchs_own(self) -> bool:
        """Whether the message goes to the address that its batch brought along."""
        return (
            self.endpoint_id is None
            and self.batch is not None
            and self.batch.webhook_url == self.url
        )


class WebhookAttempt(models.Model):
    """One try to deliver: what was answered, or why nothing was; append-only."""

    delivery = models.ForeignKey(
        WebhookDelivery, models.CASCADE, related_name="attempts"
    )
    status_code = models.PositiveSmallIntegerField(null=True)
    response = models.TextField(blank=True, help_text="The answer's first 2,000 bytes.")
    error = models.TextField(blank=True)
    duration_ms = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.delivery_id}: {self.status_code or self.error}"
