# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from batchsite.accounts.models import Team, User
from jobs.ids import may_be_id, new_file_id

from .engines import database_time


class BatchFileQuerySet(models.QuerySet["BatchFile"]):
    def visible_to_team(self, team: Team) -> BatchFileQuerySet:
        """What a key of the team may see: its own files that are present."""
        return self.present().filter(team=team)

    def visible_to(self, user: User) -> BatchFileQuerySet:
        """Files of the user's teams; all for staff."""
        return self.present().filter(team__in=Team.objects.visible_to(user))

    def of_team(self, team: Team) -> BatchFileQuerySet:
        """The team's files, also those that are gone: their ids stay cursors of the list."""
        return self.filter(team=team)

    def find(self, public_id: str) -> BatchFile | None:
        """The file with that public id, or None."""
        return (
            self.filter(public_id=public_id).first() if may_be_id(public_id) else None
        )

    def of_purpose(self, purpose: str) -> BatchFileQuerySet:
        """Files of that purpose; none for a word that is no purpose."""
        known = purpose in BatchFile.Purpose.values
        return self.filter(purpose=purpose) if known else self.none()

    def present(self) -> BatchFileQuerySet:
        """Files that were not deleted and whose time is not over."""
        return self.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=Now()),
            deleted_at__isnull=True,
        )

    def removable(self) -> BatchFileQuerySet:
        """Files whose time is over and whose bytes nobody needs any more.

        Intake reads its file again after a restart. A minute passes first, because a
        batch may just be created with a file that was still present.
        """
        return self.filter(
            deleted_at__isnull=True, expires_at__lte=database_time(-60)
        ).exclude(batches__status="validating")


class BatchFile(models.Model):
    """OpenAI's file object. The bytes are in the default storage under a name of ours.

    A deleted file keeps its row, so that batches still name it; its bytes go.
    """

    class Purpose(models.TextChoices):
        BATCH = "batch"
        BATCH_OUTPUT = "batch_output"
        ASSISTANTS = "assistants"
        FINE_TUNE = "fine-tune"
        VISION = "vision"
        USER_DATA = "user_data"
        EVALS = "evals"

    class Status(models.TextChoices):
        UPLOADED = "uploaded"
        PROCESSED = "processed"
        ERROR = "error"

    public_id = models.CharField(
        max_length=40, unique=True, default=new_file_id, editable=False
    )
    team = models.ForeignKey(Team, models.PROTECT, related_name="files")
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True)
    filename = models.CharField(
        max_length=255, help_text="As given by the client; never used as a path."
    )
    purpose = models.CharField(max_length=20, choices=Purpose.choices)
    bytes = models.PositiveBigIntegerField(help_text="Size in bytes.")
    lines = models.PositiveIntegerField(
        default=0, help_text="Lines of the file, counted while it came in."
    )
    sha256 = models.CharField(max_length=64)
    storage_name = models.CharField(max_length=200, unique=True)
    status = models.CharField(
        max_length=10, choices=Status.choices, default=Status.PROCESSED
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = BatchFileQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # read by the file list of a team, newest first
            models.Index(
                fields=["team", "-id"],
                name="file_of_team",
                condition=Q(deleted_at__isnull=True),
            ),
            # summed up for what a team keeps; holds the sizes, so that no row is read
            models.Index(
                fields=["team", "bytes"],
                name="file_bytes_of_team",
                condition=Q(deleted_at__isnull=True),
            ),
            # read by the chore that removes expired files
            models.Index(
                fields=["expires_at"],
                name="file_expiring",
                condition=Q(deleted_at__isnull=True, expires_at__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["uploaded", "processed", "error"]),
                name="file_status_known",
            ),
            models.CheckConstraint(
                condition=Q(
                    purpose__in=[
                        "batch",
                        "batch_output",
                        "assistants",
                        "fine-tune",
                        "vision",
                        "user_data",
                        "evals",
                    ]
                ),
                name="file_purpose_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.filename}"
