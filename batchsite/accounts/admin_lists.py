# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Lists of tables that may have millions of rows: never counted, never read whole.

A page goes on behind the last key of the one before, and looks at so many rows at most,
whatever the filters and the search leave of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

# The key behind which a page begins.
BEHIND = "behind"
LOOKED_AT = 10_000
MOST_DIGITS = 18


@dataclass(frozen=True)
class Scope:
    """The part of a table that a search is about.

    An index finds `rows` in the order of the whole number `key`; `term` is what is
    left to look for among them.
    """

    key: str = "pk"
    newest_first: bool = True
    rows: Mapping[str, Any] = field(default_factory=dict)
    term: str = ""

    @property
    def order(self) -> str:
        return f"-{self.key}" if self.newest_first else self.key

    def behind(self, key: int) -> dict[str, int]:
        """What comes later in the list than that key."""
        return {f"{self.key}__{'lt' if self.newest_first else 'gt'}": key}

    def ahead_of(self, key: int) -> dict[str, int]:
        """What comes earlier in the list than that key."""
        return {f"{self.key}__{'gt' if self.newest_first else 'lt'}": key}


class KeysetList(ChangeList):
    """Django's list, with pages by key."""

    # Where this page begins and the next one, as keys; None: at the top, nowhere.
    behind: int | None = None
    next_key: int | None = None
    looked_at: int | None = None
    model_admin: Keyset

    def get_queryset(self, request: HttpRequest, *given: Any, **named: Any) -> Any:
        """The rows of all pages; the place of this one is no filter."""
        if BEHIND in self.params:
            text = self.params.pop(BEHIND)
            self.filter_params.pop(BEHIND, None)
            if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
                raise IncorrectLookupParameters
            self.behind = int(text)
        return super().get_queryset(request, *given, **named)

    def get_ordering(self, request: HttpRequest, queryset: Any) -> Any:
        """The key's own: any other would sort the whole table."""
        return [self.model_admin.scope_of(self.query).order]

    def get_results(self, request: HttpRequest) -> None:
        """The rows of one page, and whether others may follow."""
        scope = self.model_admin.scope_of(self.query)
        rows, table = self.queryset, self.model._default_manager.filter(**scope.rows)
        if self.behind is not None:
            place = scope.behind(self.behind)
            rows, table = rows.filter(**place), table.filter(**place)
        most = self.model_admin.looked_at
        # By its own name: SQLite's plan of an alias reads the table whole.
        name = self.opts.pk.attname if scope.key == "pk" else scope.key
        keys = table.order_by(scope.order).values_list(name, flat=True)
        edge = next(iter(keys[most : most + 1]), None)
        if edge is not None:
            rows = rows.filter(**scope.ahead_of(edge))
        found = list(rows[: self.list_per_page + 1])
        if len(found) > self.list_per_page:
            found.pop()
            self.next_key = getattr(found[-1], scope.key)
        elif edge is not None:
            self.next_key = edge + 1 if scope.newest_first else edge - 1
            self.looked_at = most
        self._show(found)

    def _show(self, found: list[Model]) -> None:
        """What Django's templates and actions ask a list for."""
        self.result_list = found
        self.result_count = self.full_result_count = len(found)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(found, self.list_per_page)

    @property
    def next_page(self) -> str:
        """The address of the next page; "" on the last one."""
        if self.next_key is None:
            return ""
        return self.get_query_string({BEHIND: self.next_key})

    @property
    def first_page(self) -> str:
        """The address of the first page; "" on it."""
        return "" if self.behind is None else self.get_query_string()


class Keyset(admin.ModelAdmin):
    """For tables without an end: pages by key instead of numbers."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    list_per_page = 50
    looked_at = LOOKED_AT

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetList

    def scope_of(self, term: str) -> Scope:
        """The whole table, newest first; `term` is looked for among its rows."""
        return Scope(term=term)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        """The rows of the scope that have the term."""
        scope = self.scope_of(search_term)
        return super().get_search_results(
            request, queryset.filter(**scope.rows), scope.term
        )


class ReadOnly(admin.ModelAdmin):
    """Rows that only the service writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def words_filter(
    title: str, column: str, words: Mapping[str, str], *, begins: str = ""
) -> type[admin.SimpleListFilter]:
    """A filter of rows that have one of these words in a column.

    With `begins` those that begin with the word and that. Django's own would read the
    whole table for the words that there are.
    """
    lookup = f"{column}__startswith" if begins else column

    class Words(admin.SimpleListFilter):
        parameter_name = column

        def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
            return list(words.items())

        def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
            chosen = self.value()
            if not chosen:
                return queryset
            return queryset.filter(**{lookup: chosen + begins})

    Words.title = title
    return Words
