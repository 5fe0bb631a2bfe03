# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from batchsite.accounts.models import User
from jobs.models.words import words_of

from .datasets import Dataset, DatasetVersion
from .queues import ReviewQueue


class BuildQuerySet(models.QuerySet["DatasetBuild"]):
    def due(self) -> BuildQuerySet:
        """Those that nobody works on just now, by the database's clock."""
        free = Q(taken_until=None) | Q(taken_until__lt=Now())
        return self.filter(words_of("state", "waiting"), free).order_by("pk")


class DatasetBuild(models.Model):
    """A version of a dataset that a control worker is to make, of these queues.

    One that is killed is begun anew: a version is stored whole or not at all.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        DONE = "done"
        FAILED = "failed"

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="builds")
    queues = models.ManyToManyField(ReviewQueue, related_name="builds")
    spec_text = models.TextField(help_text="JSON, as curation.specs.Spec has it.")
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.WAITING
    )
    version = models.OneToOneField(
        DatasetVersion, models.SET_NULL, null=True, blank=True, related_name="build"
    )
    problem = models.CharField(max_length=500, blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    taken_until = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="dataset_builds"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = BuildQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # read every few seconds by the control workers
            models.Index(
                fields=["id"], name="build_waiting", condition=Q(state="waiting")
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "done", "failed"]),
                name="build_state_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dataset}, {self.state}"

    @cached_property
    def spec(self) -> dict[str, Any]:
        """How it is made."""
        found: dict[str, Any] = json.loads(self.spec_text)
        return found
