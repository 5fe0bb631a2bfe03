# SPDX-License-Identifier: Apache-2.0
"""The bodies of calls about batches, checked: OpenAI's fields, and `batchsite`'s."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from jobs import row_checks
from jobs.changes import MOST_TAGS, TAG_LENGTH
from jobs.jsonl import CUSTOM_ID_LENGTH, ENDPOINTS
from jobs.models import Batch
from jobs.submit import LONGEST_SECONDS, SHORTEST_SECONDS
from jobs.webhooks import AddressError, check_address

from . import params
from .errors import ApiError, quoted

CREATE_FIELDS = (
    "input_file_id",
    "endpoint",
    "completion_window",
    "metadata",
    "output_expires_after",
    "batchsite",
)
UPDATE_FIELDS = ("metadata", "batchsite")
RETRY_FIELDS = (
    "custom_ids",
    "model",
    "body",
    "system_prompt",
    "metadata",
    "output_expires_after",
    "batchsite",
)
FILE_ID_LENGTH = 100
NAME_LENGTH = 200
PRIORITY = (-100, 100)
CUSTOM_IDS_MOST = 10_000
MODEL_LENGTH = 200
NESTING_MOST = 50


def create(body: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of submit.create_batch that the body gives.

    `check_webhook` has still to see them.
    """
    params.known_only(body, CREATE_FIELDS)
    return {
        "input_file_id": params.text(body, "input_file_id", longest=FILE_ID_LENGTH),
        "endpoint": supported_endpoint(params.text(body, "endpoint")),
        "completion_window": params.one_of(
            "completion_window", params.text(body, "completion_window"), ["24h"]
        ),
        **openais_options(body),
        **extensions(body, CREATE_EXTENSIONS),
    }


def update(body: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of changes.update_batch that the body gives."""
    params.known_only(body, UPDATE_FIELDS)
    changes = extensions(body, UPDATE_EXTENSIONS)
    if "metadata" in body:
        changes["metadata"] = params.metadata(body["metadata"])
    return changes


def retry(body: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of retry.prepared that the body gives.

    `check_webhook` has still to see those in `over`.
    """
    params.known_only(body, RETRY_FIELDS)
    given: dict[str, Any] = {}
    if body.get("custom_ids") is not None:
        given["custom_ids"] = custom_ids(body["custom_ids"])
    if body.get("model") is not None:
        given["model"] = params.text(body, "model", longest=MODEL_LENGTH)
    if body.get("body") is not None:
        if not isinstance(body["body"], dict):
            raise params.wrong_type("body", "an object", body["body"])
        check_writable("body", body["body"])
        given["body"] = body["body"]
    if body.get("system_prompt") is not None:
        given["system_prompt"] = params.text(body, "system_prompt", longest=1_000_000)
    over = extensions(body, CREATE_EXTENSIONS)
    over |= {
        name: value for name, value in openais_options(body).items() if name in body
    }
    return {**given, "over": over}


def openais_options(body: Mapping[str, Any]) -> dict[str, Any]:
    """What OpenAI's create takes beside the required fields."""
    return {
        "metadata": params.metadata(body.get("metadata")),
        "output_expires_after": params.life(
            body.get("output_expires_after"), "output_expires_after"
        ),
    }


def supported_endpoint(endpoint: str) -> str:
    """The endpoint, if batches may use it."""
    if endpoint not in ENDPOINTS:
        raise ApiError(
            f"Invalid endpoint: {quoted(endpoint)}."
            f" Supported values: {', '.join(ENDPOINTS)}.",
            param="endpoint",
            code="invalid_value",
        )
    return endpoint


def extensions(
    body: Mapping[str, Any], checks: Mapping[str, Callable[[str, Any], Any]]
) -> dict[str, Any]:
    """The members of `batchsite` that were given and not null, each by its check."""
    given = body.get("batchsite")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise params.wrong_type("batchsite", "an object", given)
    params.known_only(
        (f"batchsite.{name}" for name in given),
        {f"batchsite.{name}" for name in checks},
    )
    return {
        name: checks[name](f"batchsite.{name}", value)
        for name, value in given.items()
        if value is not None
    }


def _string(param: str, value: Any, longest: int) -> str:
    if not isinstance(value, str):
        raise params.wrong_type(param, "a string", value)
    params.check_length(param, value, longest)
    return value


def _name(param: str, value: Any) -> str:
    return _string(param, value, NAME_LENGTH)


def _tags(param: str, value: Any) -> list[str]:
    """Up to 20 different strings of 1 to 50 characters."""
    if not isinstance(value, list):
        raise params.wrong_type(param, "an array", value)
    if len(value) > MOST_TAGS:
        raise params.too_many(param, len(value), MOST_TAGS)
    for place, tag in enumerate(value):
        if not _string(f"{param}[{place}]", tag, TAG_LENGTH):
            raise params.empty(f"{param}[{place}]")
    return list(dict.fromkeys(value))


def _priority(param: str, value: Any) -> int:
    least, most = PRIORITY
    return _integer(param, value, least, most)


def _integer(param: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, str):
        raise params.wrong_type(param, "an integer", value)
    return params.integer(param, value, least=least, most=most)


def _seconds(param: str, value: Any) -> int:
    return _integer(param, value, SHORTEST_SECONDS, LONGEST_SECONDS)


def _flag(param: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise params.wrong_type(param, "a boolean", value)
    return value


def _order(param: str, value: Any) -> str:
    if not isinstance(value, str):
        raise params.wrong_type(param, "a string", value)
    return params.one_of(param, value, Batch.OutputOrder.values)


def _webhook(param: str, value: Any) -> str:
    """Some address; "": none."""
    return _string(param, value, 500)


def check_webhook(arguments: Mapping[str, Any]) -> None:
    """Refuse a `webhook_url` that webhooks are not sent to; asks the name service.

    Not a part of the other checks: what the name service says now decides nothing for
    a call that made its batch earlier.
    """
    if url := arguments.get("webhook_url"):
        try:
            check_address(url)
        except AddressError as error:
            param = "batchsite.webhook_url"
            raise ApiError(
                f"Invalid '{param}': {error}", param=param, code="invalid_value"
            ) from error


UPDATE_EXTENSIONS: dict[str, Callable[[str, Any], Any]] = {
    "name": _name,
    "tags": _tags,
    "priority": _priority,
    "paused": _flag,
    "expires_in_seconds": _seconds,
    "checks": row_checks.read,
}
CREATE_EXTENSIONS: dict[str, Callable[[str, Any], Any]] = UPDATE_EXTENSIONS | {
    "webhook_url": _webhook,
    "dedupe": _flag,
    "output_order": _order,
    "allow_mixed_models": _flag,
}


def check_writable(param: str, value: Any) -> None:
    """Refuse JSON that cannot be written as it was read: deep nesting, huge numbers."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > NESTING_MOST:
            raise ApiError(
                f"Invalid '{param}': nested more than {NESTING_MOST} levels deep.",
                param=param,
                code="invalid_value",
            )
        deeper: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                deeper += part.values()
            elif isinstance(part, list):
                deeper += part
            elif isinstance(part, float) and not math.isfinite(part):
                raise ApiError(
                    f"Invalid '{param}': a number is too large.",
                    param=param,
                    code="invalid_value",
                )
        level = deeper


def custom_ids(value: Any) -> list[str]:
    """1 to 10,000 custom ids; repetitions count once."""
    if not isinstance(value, list):
        raise params.wrong_type("custom_ids", "an array", value)
    if not value:
        raise ApiError(
            "Invalid 'custom_ids': empty array. Expected an array with minimum length 1,"
            " but got an empty array instead.",
            param="custom_ids",
            code="empty_array",
        )
    if len(value) > CUSTOM_IDS_MOST:
        raise params.too_many("custom_ids", len(value), CUSTOM_IDS_MOST)
    for place, custom_id in enumerate(value):
        _string(f"custom_ids[{place}]", custom_id, CUSTOM_ID_LENGTH)
    return list(dict.fromkeys(value))
