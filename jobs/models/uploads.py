# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from batchsite.accounts.models import Team, User
from jobs.ids import may_be_id, new_part_id, new_upload_id

from .files import BatchFile
from .words import words_of

UPLOAD_LIFE = timedelta(hours=1)


class UploadQuerySet(models.QuerySet["Upload"]):
    def visible_to_team(self, team: Team) -> UploadQuerySet:
        """What a key of the team may see."""
        return self.filter(team=team)

    def visible_to(self, user: User) -> UploadQuerySet:
        """Uploads of the user's teams; all for staff."""
        return self.filter(team__in=Team.objects.visible_to(user))

    def find(self, public_id: str) -> Upload | None:
        """The upload with that public id, or None."""
        return (
            self.filter(public_id=public_id).first() if may_be_id(public_id) else None
        )

    def overdue(self) -> UploadQuerySet:
        """Pending ones whose hour is over."""
        return self.filter(words_of("status", "pending"), expires_at__lte=Now())


class Upload(models.Model):
    """OpenAI's upload object: a file that arrives in parts, within an hour."""

    class Status(models.TextChoices):
        PENDING = "pending"
        COMPLETED = "completed"
        CANCELLED = "cancelled"
        EXPIRED = "expired"

    public_id = models.CharField(
        max_length=40, unique=True, default=new_upload_id, editable=False
    )
    team = models.ForeignKey(Team, models.PROTECT, related_name="uploads")
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True)
    filename = models.CharField(
        max_length=255, help_text="As given by the client; never used as a path."
    )
    purpose = models.CharField(max_length=20, choices=BatchFile.Purpose.choices)
    mime_type = models.CharField(max_length=200)
    bytes = models.PositiveBigIntegerField(help_text="Size in bytes, as declared.")
    expires_after = models.PositiveIntegerField(
        null=True, blank=True, help_text="Life of the file, in seconds."
    )
    status = models.CharField(
        max_length=10, choices=Status.choices, default=Status.PENDING
    )
    file = models.OneToOneField(
        BatchFile, models.PROTECT, null=True, blank=True, related_name="upload"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # read by the sweep of overdue uploads
            models.Index(
                fields=["expires_at"],
                name="upload_pending",
                condition=Q(status="pending"),
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    status__in=["pending", "completed", "cancelled", "expired"]
                ),
                name="upload_status_known",
            ),
            models.CheckConstraint(
                condition=Q(status="completed", file__isnull=False)
                | ~Q(status="completed") & Q(file__isnull=True),
                name="upload_completed_has_file",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.filename}"


class UploadPart(models.Model):
    """Some bytes of an upload; their order is given when it is completed.

    Bytes that are sent again, after a lost answer, are the part that they were.
    """

    public_id = models.CharField(
        max_length=40, unique=True, default=new_part_id, editable=False
    )
    upload = models.ForeignKey(Upload, models.CASCADE, related_name="parts")
    bytes = models.PositiveBigIntegerField(help_text="Size in bytes.")
    sha256 = models.CharField(max_length=64)
    storage_name = models.CharField(max_length=200, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["upload", "sha256"], name="upload_part_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.public_id} of {self.upload_id}"


class IdempotencyKey(models.Model):
    """An Idempotency-Key header that made a batch: repeating it answers that batch.

    `fingerprint` is the SHA-256 of the request's body; another body is a conflict.
    """

    team = models.ForeignKey(Team, models.CASCADE, related_name="idempotency_keys")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    batch = models.ForeignKey(
        "jobs.Batch", models.CASCADE, related_name="idempotency_keys"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [
            # read by the sweep of old keys
            models.Index(fields=["created_at"], name="idempotency_key_age"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["team", "key"], name="idempotency_key_once")
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.team_id}"
