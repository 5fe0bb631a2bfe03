# SPDX-License-Identifier: Apache-2.0
"""Conditions that read word by word as those of the partial indexes."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Func


def words_of(column: str, *words: str, negated: bool = False) -> Func:
    """A condition on a column with its words in the SQL itself.

    SQLite takes a partial index only for its very condition, not for parameters that
    may have any value; so this must read as the index does.
    """
    listed = ", ".join(f"'{word}'" for word in words)
    test = f"= {listed}" if len(words) == 1 else f"IN ({listed})"
    template = f"NOT (%(expressions)s {test})" if negated else f"%(expressions)s {test}"
    return Func(F(column), template=template, output_field=models.BooleanField())
