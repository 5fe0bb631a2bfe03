# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What the admin's tables of the batch service share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import attrgetter
from typing import Any

from django.contrib import admin
from django.db.models import Model, URLField
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from batchsite.accounts import admin_lists
from batchsite.accounts.admin_lists import Keyset, Scope
from batchsite.accounts.admin_parts import Linked

from .ids import may_be_id
from .models import Batch
from .templatetags.figures import printable

# Characters of a long text that a page shows; the site's own pages show the whole.
MOST_SHOWN = 20_000


class ReadOnly(Linked, admin_lists.ReadOnly, Keyset):
    """Rows that only the service writes, in tables that grow without an end.

    `prefix`: how their public ids begin; such a term is one row, wherever it is.
    """

    formfield_overrides = {URLField: {"assume_scheme": "https"}}
    prefix = ""

    def scope_of(self, term: str) -> Scope:
        """The row of that public id; else all."""
        code = term.strip()
        if self.prefix and code.startswith(self.prefix) and may_be_id(code):
            return Scope(rows={"public_id": code})
        return Scope(term=term)


class OfBatch(ReadOnly):
    """Rows that belong to a batch: its id finds them, in the order of `within`.

    An index begins with the batch and goes on with that column. A word behind the id
    is the custom_id of the request at `request_path`, where rows have one.
    """

    within = "pk"
    request_path: str | None = None
    search_help_text = (
        "A batch's id finds its rows. Anything else looks through all rows, newest"
        " first, 10,000 a page."
    )

    def scope_of(self, term: str) -> Scope:
        """The rows of the batch that the term begins with; else as of others."""
        code, _, more = term.strip().partition(" ")
        if not (code.startswith("batch_") and may_be_id(code)):
            return super().scope_of(term)
        # Apart, as PostgreSQL would sort a joined batch's rows, all of them.
        batch = Batch.objects.find(code)
        rows: dict[str, Any] = {"batch_id": batch.pk} if batch else {"pk__in": []}
        more = more.strip()
        if batch and more and self.request_path is not None:
            rows[f"{self.request_path}batch_id"] = batch.pk
            rows[f"{self.request_path}custom_id"], more = more, ""
        newest_first = self.within == "pk"
        return Scope(key=self.within, newest_first=newest_first, rows=rows, term=more)


def rows_of(parent: type[Model], prefix: str, column: str, term: str) -> Scope:
    """The rows of the parent whose public id the term is; without one all rows."""
    code = term.strip()
    if not (code.startswith(prefix) and may_be_id(code)):
        return Scope(term=term)
    key = parent._default_manager.filter(public_id=code).values_list("pk", flat=True)
    found = next(iter(key.order_by()), None)
    return Scope(rows={"pk__in": []} if found is None else {column: found})


class Changeable(Linked):
    """Rows of which people decide the columns in `changeable`; the service the rest."""

    changeable: Collection[str] = ()

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> list[str]:
        """Everything but what people decide."""
        names = [field.name for field in self.model._meta.fields]
        return [name for name in names if name not in self.changeable]


def hostile(path: str, words: str = "") -> Callable[[Any], str]:
    """A column of text that somebody else wrote."""
    found = attrgetter(path)

    @admin.display(description=words or path.rpartition(".")[2].replace("_", " "))
    def column(row: Any) -> str:
        return format_html('<span class="hostile">{}</span>', printable(found(row)))

    # Django tells columns apart by their names.
    column.__name__ = path.replace(".", "_")
    return column


def long_text(path: str, words: str) -> Callable[[Any], str]:
    """A field of text that somebody else wrote, perhaps of megabytes."""
    found = attrgetter(path)

    @admin.display(description=words)
    def field(row: Any) -> str:
        text = found(row)
        if not text:
            return "-"
        more = len(text) - MOST_SHOWN
        return format_html(
            '<pre class="hostile">{}</pre>{}',
            printable(text[:MOST_SHOWN]),
            f"{more:,} more characters stand on the site's own page." * (more > 0),
        )

    field.__name__ = path.replace(".", "_") + "_shown"
    return field


@admin.display(description="batch")
def batch_link(row: Any) -> str:
    """A column that leads to the row's batch in the admin."""
    if row.batch is None:
        return "-"
    return format_html(
        '<a class="hostile" href="{}">{}</a>',
        reverse("admin:jobs_batch_change", args=[row.batch_id]),
        printable(row.batch),
    )


def batch_page(row: Any) -> str | None:
    """The address of the page of a row's batch."""
    if row.batch is None:
        return None
    return reverse("batch-detail", args=[row.batch.public_id])
