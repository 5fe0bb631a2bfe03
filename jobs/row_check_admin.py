# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""The checks of batches in the admin, to read."""

from __future__ import annotations

from .admin_tables import ReadOnly


class RowCheckAdmin(ReadOnly):
    list_display = [
        *("batch", "name", "kind", "checked_seq"),
        *("passed", "failed", "not_applicable", "errors"),
    ]
    list_filter = ["kind"]
    search_fields = ["=batch__public_id", "=name"]
    list_select_related = ["batch"]


class CheckRunAdmin(ReadOnly):
    list_display = ["batch", "free_at", "done"]
    list_filter = ["done"]
    search_fields = ["=batch__public_id"]
    list_select_related = ["batch"]


class RowOutcomeAdmin(ReadOnly):
    list_display = ["batch", "index", "letters", "reasons", "failed"]
    list_filter = ["flagged"]
    search_fields = ["=batch__public_id"]
    list_select_related = ["batch"]
