# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""The checks of batches in the admin, to read."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from batchsite.accounts.admin_lists import words_filter

from .admin_tables import OfBatch, batch_link, hostile
from .row_checks.rules import KINDS


class RowCheckAdmin(OfBatch):
    within = "position"
    list_display = [
        batch_link,
        *(hostile("name"), "kind", "checked_seq"),
        *("passed", "failed", "not_applicable", "errors"),
    ]
    list_filter = [words_filter("kind", "kind", {name: name for name in KINDS})]
    search_fields = ["name"]
    list_select_related = ["batch"]

    def view_on_site(self, obj: Any) -> str:
        return reverse("batch-checks", args=[obj.batch.public_id])


class CheckRunAdmin(OfBatch):
    list_display = [batch_link, "free_at", "done"]
    list_filter = ["done"]
    list_select_related = ["batch"]

    def view_on_site(self, obj: Any) -> str:
        return reverse("batch-checks", args=[obj.batch.public_id])


class RowOutcomeAdmin(OfBatch):
    within = "index"
    list_display = [batch_link, "index", "letters", hostile("reasons"), "failed"]
    list_filter = ["flagged"]
    search_fields = ["reasons"]
    list_select_related = ["batch"]

    def view_on_site(self, obj: Any) -> str:
        return reverse("batch-result", args=[obj.batch.public_id, obj.index])
