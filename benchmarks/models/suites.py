# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from django.db import models
from django.utils import timezone

from batchsite.accounts.models import Team, User
from benchmarks.ids import new_suite_id
from benchmarks.scoring import Metric, read_kept
from jobs.models.owned import OwnedQuerySet


class SuiteQuerySet(OwnedQuerySet["Suite"]):
    def live(self) -> SuiteQuerySet:
        """Those that are not archived."""
        return self.filter(archived_at=None)


class Suite(models.Model):
    """Requests with what is expected of the answers, under a name that stays."""

    public_id = models.CharField(
        max_length=40, unique=True, default=new_suite_id, editable=False
    )
    team = models.ForeignKey(Team, models.CASCADE, related_name="suites")
    name = models.CharField(max_length=100)
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="suites"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = SuiteQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="suite_name_once")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def latest(self) -> SuiteVersion:
        """Its newest version; a suite has one from its creation on."""
        version = self.versions.order_by("-number").first()
        assert version is not None
        return version


class SuiteVersion(models.Model):
    """Items that never change: what was measured with them stays comparable.

    `sha256` is of all items as lines of an export; `source_text` says in JSON where
    they are from; `metrics_text` are the metrics of items that have none of their own.
    """

    suite = models.ForeignKey(Suite, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    url = models.CharField(max_length=64, help_text="The endpoint of all its requests.")
    count = models.PositiveIntegerField(help_text="Of items.")
    sha256 = models.CharField(max_length=64)
    metrics_text = models.TextField(default="[]")
    source_text = models.TextField(default="{}")
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="suite_versions"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["suite", "number"], name="suite_version_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.suite}, version {self.number}"

    @cached_property
    def metrics(self) -> list[Metric]:
        """What is asked of items that ask nothing of their own."""
        return read_kept(self.metrics_text)

    @property
    def source(self) -> dict[str, Any]:
        """Where the items are from: {"kind": …} and what belongs to it."""
        found: dict[str, Any] = json.loads(self.source_text)
        return found


class SuiteItem(models.Model):
    """One request, and what is expected of its answer.

    `body` has no model: that is what a run chooses. Bodies, references and metrics are
    JSON text, for PostgreSQL takes not all JSON as such; no reference is "".
    """

    # The constraints below are indexes that begin with the version.
    version = models.ForeignKey(
        SuiteVersion, models.CASCADE, related_name="items", db_index=False
    )
    index = models.PositiveIntegerField()
    custom_id = models.CharField(max_length=512)
    body = models.TextField()
    reference_text = models.TextField(blank=True)
    metrics_text = models.TextField(blank=True)
    tags = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["index"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "index"], name="suite_item_place_once"
            ),
            models.UniqueConstraint(
                fields=["version", "custom_id"], name="suite_item_name_once"
            ),
        ]

    def __str__(self) -> str:
        return self.custom_id

    @property
    def reference(self) -> Any:
        """What the answer is compared with; None where there is nothing."""
        return json.loads(self.reference_text) if self.reference_text else None

    @property
    def metrics(self) -> list[Metric]:
        """Its own; else those of the version."""
        if not self.metrics_text:
            return self.version.metrics
        return read_kept(self.metrics_text)

    def as_line(self) -> dict[str, Any]:
        """As an export has it and `item_lines` reads it."""
        found: dict[str, Any] = {
            "custom_id": self.custom_id,
            "url": self.version.url,
            "body": json.loads(self.body),
        }
        if self.reference_text:
            found["reference"] = self.reference
        if self.metrics_text:
            found["metrics"] = json.loads(self.metrics_text)
        if self.tags:
            found["tags"] = self.tags
        return found
