# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What the admin's tables of the batch service share."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet, URLField
from django.http import HttpRequest

# Tables of millions of rows are paged without ever being counted.
COUNTED_ROWS = 10_000


class ShortCount(Paginator):
    """Counts at most 10,000 rows; filters find what lies behind them."""

    @property
    def count(self) -> int:
        rows = self.object_list
        if isinstance(rows, QuerySet):
            return int(rows.order_by().values("pk")[:COUNTED_ROWS].count())
        return len(rows)


class ReadOnly(admin.ModelAdmin):
    """Rows that only the service writes."""

    show_full_result_count = False
    paginator = ShortCount
    list_per_page = 50
    formfield_overrides = {URLField: {"assume_scheme": "https"}}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False


class Changeable(admin.ModelAdmin):
    """Rows of which people decide the columns in `changeable`; the service the rest."""

    changeable: Collection[str] = ()

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> list[str]:
        """Everything but what people decide."""
        names = [field.name for field in self.model._meta.fields]
        return [name for name in names if name not in self.changeable]
