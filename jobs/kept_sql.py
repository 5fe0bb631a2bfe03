# SPDX-License-Identifier: Apache-2.0
"""SQL that is put together once, for what is asked many times a second.

Django takes longer to put a query together than a database to answer a small one.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Model, QuerySet
from django.db.models.query import RawQuerySet
from django.db.models.sql import RawQuery

Row = TypeVar("Row", bound=Model)
# A server keeps the plan of what it was asked so often.
PREPARED_FROM = 5


def sql_of(rows: QuerySet[Any], *params: object) -> str:
    """The SQL of a query, with a `%s` for each of `params`: the values in `rows` itself.

    They are named so that their order is checked: what is asked later has others.
    """
    sql, found = rows.query.sql_with_params()
    assert [str(one) for one in found] == [str(one) for one in params], found
    return str(sql)


def kept_cursor() -> CursorWrapper:
    """A cursor for SQL that is asked for each call of the API.

    With PostgreSQL one that sends values apart from the SQL, so that the server keeps
    the plan: it took longer to plan a poll's two queries than to answer them. Not for
    values that choose a partial index, which a kept plan cannot use.
    """
    cursor = connection.cursor()
    if connection.vendor == "postgresql":
        cursor.cursor = _preparing()(connection.connection)
    return cursor


@cache
def _preparing() -> type[Any]:
    """A cursor whose queries are prepared, and no others of its connection.

    The connection counts all that is sent while it may prepare: of Django's own queries,
    which have their values in them, the last hundred would be kept with all bodies.
    """
    import psycopg  # slow to import, and of no use with SQLite

    class Preparing(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **more: Any) -> Any:
            self.connection.prepare_threshold = PREPARED_FROM
            try:
                return super().execute(*args, **more)
            finally:
                self.connection.prepare_threshold = None

    return Preparing


class _KeptQuery(RawQuery):
    def _execute_query(self) -> None:
        self.cursor = kept_cursor()
        self.cursor.execute(self.sql, self.params)


def kept_rows(model: type[Row], sql: str, *params: object) -> list[Row]:
    """The model's rows that kept SQL finds."""
    # Django takes this kind of query here; the stubs know only the other kind.
    query: Any = _KeptQuery(sql, "default", params)
    return list(RawQuerySet(sql, model, query))
