# SPDX-License-Identifier: Apache-2.0
"""Pages of a list, cut by key: `after` is the id of the last object seen."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.request import Request

from .errors import ApiError, quoted
from .params import integer

Row = TypeVar("Row", bound=Model)


def page_limit(request: Request, *, default: int, most: int) -> int:
    """The `limit` of the query."""
    value = request.query_params.get("limit", default)
    return integer("limit", value, least=1, most=most)


def page(
    rows: QuerySet[Row], *, cursor: Row | None, limit: int, newest_first: bool = True
) -> tuple[list[Row], bool]:
    """Up to `limit` rows after the cursor, and whether more follow."""
    if cursor is not None:
        rows = rows.filter(**{"pk__lt" if newest_first else "pk__gt": cursor.pk})
    found = list(rows.order_by("-pk" if newest_first else "pk")[: limit + 1])
    return found[:limit], len(found) > limit


def unknown_cursor(kind: str, public_id: str) -> ApiError:
    """400 for an `after` that names no object of the list."""
    return ApiError(
        f"Invalid 'after': no {kind} with id '{quoted(public_id)}'.",
        param="after",
        code="invalid_value",
    )


def cursor_of(rows: Any, request: Request, kind: str) -> Any:
    """The object that `after` names, None without one; ApiError when it is unknown."""
    public_id = request.query_params.get("after")
    if not public_id:
        return None
    found = rows.find(public_id)
    if found is None:
        raise unknown_cursor(kind, public_id)
    return found
