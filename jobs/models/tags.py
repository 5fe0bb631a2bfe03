# SPDX-License-Identifier: Apache-2.0
"""Looking for a tag in SQL, in the words of each database."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func
from django.db.models.sql.compiler import SQLCompiler


class HasTag(Func):
    """Whether a JSON array of strings (the first expression) has a string (the second)."""

    # PostgreSQL's operator `?` by the name of its function.
    function = "jsonb_exists"
    output_field = models.BooleanField()
    arity = 2

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> Any:
        """The same with SQLite's table of an array's members."""
        return self.as_sql(
            compiler,
            connection,
            template="EXISTS (SELECT 1 FROM json_each(%(expressions)s)",
            arg_joiner=") AS tag WHERE tag.value = ",
            **extra,
        )
