# SPDX-License-Identifier: Apache-2.0
"""SQL that is put together once, for what is asked many times a second.

Django takes longer to put a query together than a database to answer a small one.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet


def sql_of(rows: QuerySet[Any], *params: object) -> str:
    """The SQL of a query, with a `%s` for each of `params`: the values in `rows` itself.

    They are named so that their order is checked: what is asked later has others.
    """
    sql, found = rows.query.sql_with_params()
    assert [str(one) for one in found] == [str(one) for one in params], found
    return str(sql)
