# SPDX-License-Identifier: Apache-2.0
"""What a path names that is not there, and who calls."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.request import Request

from jobs.row_checks.parameters import bad

from .auth import caller, client_address
from .errors import ApiError, quoted

Numbered = TypeVar("Numbered", bound=Model)


def unknown(kind: str, public_id: str) -> ApiError:
    """404 for what does not exist or is another team's."""
    return ApiError(f"No {kind} found with id '{quoted(public_id)}'", status=404)


def who(request: Request) -> dict[str, Any]:
    """Who calls, as operations take it."""
    return {"user": caller(request).user, "address": client_address(request)}


def key_of(param: str, public_id: str, prefix: str, kind: str) -> int:
    """The key in an id like `feed_12`; Refused for what is none."""
    if (key := _key(public_id, prefix)) is None:
        raise bad(param, f"no {kind} has this id.")
    return key


def _key(public_id: str, prefix: str) -> int | None:
    digits = public_id.removeprefix(prefix)
    if digits.isascii() and digits.isdecimal() and len(digits) < 19:
        return int(digits)
    return None


def numbered(
    rows: QuerySet[Numbered], prefix: str, public_id: str, kind: str
) -> Numbered:
    key = _key(public_id, prefix)
    found = None if key is None else rows.filter(pk=key).first()
    if found is None:
        raise unknown(kind, public_id)
    return found
