# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from django.db import models
from django.utils import timezone

from batchsite.accounts.models import Team, User
from curation.ids import new_dataset_id
from jobs.models import BatchFile
from jobs.models.owned import OwnedQuerySet


class DatasetQuerySet(OwnedQuerySet["Dataset"]):
    pass


class Dataset(models.Model):
    """What people resolved, made into rows for training or evaluation; in versions."""

    public_id = models.CharField(
        max_length=40, unique=True, default=new_dataset_id, editable=False
    )
    team = models.ForeignKey(Team, models.CASCADE, related_name="datasets")
    name = models.CharField(max_length=100)
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="datasets"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = DatasetQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="dataset_name_once")
        ]

    def __str__(self) -> str:
        return self.name


class DatasetVersion(models.Model):
    """Rows as they were on one day; it never changes.

    Its files are files of the team like others, of OpenAI's purpose `fine-tune`. The
    manifest is JSON text: what it was made of, how, and the sums of its files.
    """

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    format = models.CharField(max_length=30)
    rows = models.PositiveIntegerField(help_text="In the training file.")
    test_rows = models.PositiveIntegerField(default=0)
    train_file = models.ForeignKey(
        BatchFile, models.PROTECT, null=True, blank=True, related_name="+"
    )
    test_file = models.ForeignKey(
        BatchFile, models.PROTECT, null=True, blank=True, related_name="+"
    )
    manifest_text = models.TextField()
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="dataset_versions"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "number"], name="dataset_version_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.dataset}, version {self.number}"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What it was made of."""
        found: dict[str, Any] = json.loads(self.manifest_text)
        return found
