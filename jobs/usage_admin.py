# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What was used, hour by hour, in the admin, to read."""

from __future__ import annotations

from .admin_tables import OfBatch, ReadOnly


class UsageAdmin(ReadOnly):
    list_display = [
        *("hour", "team", "user", "model", "answered", "failed"),
        *("input_tokens", "cached_tokens", "output_tokens", "engine_seconds"),
    ]
    list_filter = ["team"]
    search_fields = ["user__email", "model"]
    list_select_related = ["team", "user"]


class UsageMarkAdmin(OfBatch):
    list_display = ["batch", "counted_at", "result_seq"]
    # A batch's id is understood by itself; the rows have no words of their own.
    search_fields = ["id"]
    list_select_related = ["batch"]
