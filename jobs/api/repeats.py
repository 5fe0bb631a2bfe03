# SPDX-License-Identifier: Apache-2.0
"""The Idempotency-Key header of calls that make a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rest_framework.request import Request

from jobs import idempotency
from jobs.models import Batch

from .auth import caller
from .errors import ApiError

HEADER = "Idempotency-Key"
REPLAYED = {"idempotent-replayed": "true"}


def key_of(request: Request) -> str | None:
    """The key that the request brings, or None; ApiError for one that is none."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 0 < len(key) <= idempotency.KEY_LENGTH or not key.isprintable():
        raise ApiError(
            f"Invalid '{HEADER}': expected 1 to {idempotency.KEY_LENGTH} printable"
            " characters.",
            param=HEADER,
            code="invalid_value",
        )
    return key


def made_before(request: Request, body: Mapping[str, Any]) -> Batch | None:
    """The batch that the same call made earlier with its key, if any."""
    key = key_of(request)
    if key is None:
        return None
    try:
        return idempotency.known(
            team=caller(request).team,
            key=key,
            fingerprint=idempotency.fingerprint(request.path, body),
        )
    except idempotency.KeyReused as error:
        raise reused() from error


def made_once(
    request: Request, body: Mapping[str, Any], make: Callable[[], Batch]
) -> tuple[Batch, dict[str, str]]:
    """The batch that `make` makes, or that the same call made earlier; extra headers."""
    key = key_of(request)
    if key is None:
        return make(), {}
    try:
        batch, replayed = idempotency.once(
            team=caller(request).team,
            key=key,
            fingerprint=idempotency.fingerprint(request.path, body),
            make=make,
        )
    except idempotency.KeyReused as error:
        raise reused() from error
    return batch, REPLAYED if replayed else {}


def reused() -> ApiError:
    """409: the key belongs to another call."""
    return ApiError(
        f"The {HEADER} was used in the last 24 hours with another request. Use a new key"
        " for a new batch.",
        status=409,
        param=HEADER,
        code="idempotency_key_reused",
        retry=False,
    )
