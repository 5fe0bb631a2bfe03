# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.db import models
from django.utils import timezone

from batchsite.accounts.models import User


class SavedView(models.Model):
    """A filter of the batch list that a person kept under a name; theirs alone."""

    user = models.ForeignKey(User, models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=60)
    query = models.CharField(
        max_length=1000, help_text="The filter as the list's address has it."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="saved_view_once")
        ]

    def __str__(self) -> str:
        return self.name
