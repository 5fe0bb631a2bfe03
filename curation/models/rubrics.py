# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from functools import cached_property

from django.db import models
from django.db.models import Count
from django.utils import timezone

from batchsite.accounts.models import Team, User
from curation.ids import new_rubric_id
from curation.questions import Question, read
from jobs.models.owned import OwnedQuerySet


class RubricQuerySet(OwnedQuerySet["Rubric"]):
    def with_counts(self) -> RubricQuerySet:
        """With `version_count`, and `queue_count` of the queues that ask any version."""
        return self.annotate(
            version_count=Count("versions", distinct=True),
            queue_count=Count("versions__queues", distinct=True),
        )


class RubricVersionQuerySet(models.QuerySet["RubricVersion"]):
    def with_counts(self) -> RubricVersionQuerySet:
        """With `queue_count`, of the queues that ask it."""
        return self.annotate(queue_count=Count("queues"))


class Rubric(models.Model):
    """What reviewers are asked, under a name that stays while its questions change."""

    public_id = models.CharField(
        max_length=40, unique=True, default=new_rubric_id, editable=False
    )
    team = models.ForeignKey(Team, models.CASCADE, related_name="rubrics")
    name = models.CharField(max_length=100)
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="rubrics"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = RubricQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="rubric_name_once")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def latest(self) -> RubricVersion:
        """Its newest version; a rubric has one from its creation on."""
        version = self.versions.order_by("-number").first()
        assert version is not None
        return version


class RubricVersion(models.Model):
    """Questions that never change once a queue asks them.

    They are JSON text, for PostgreSQL takes not all JSON as such.
    """

    rubric = models.ForeignKey(Rubric, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    questions_text = models.TextField()
    used = models.BooleanField(
        default=False, help_text="A queue asks these questions: they stay as they are."
    )
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="rubric_versions"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RubricVersionQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["rubric", "number"], name="rubric_version_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.rubric}, version {self.number}"

    @cached_property
    def questions(self) -> list[Question]:
        """The questions, in their order."""
        return read("questions", json.loads(self.questions_text))
