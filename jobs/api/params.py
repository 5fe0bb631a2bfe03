# SPDX-License-Identifier: Apache-2.0
"""Checks of what clients send, with OpenAI's codes and messages where these are known."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .errors import ApiError, quoted

LIFE_SECONDS = (3600, 2_592_000)
METADATA_PAIRS = 16
METADATA_KEY = 64
METADATA_VALUE = 512
KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def known_only(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse the first parameter that is not known."""
    for name in given:
        if name not in known:
            raise ApiError(
                f"Unknown parameter: '{quoted(name)}'.",
                param=quoted(name),
                code="unknown_parameter",
            )


def missing(param: str) -> ApiError:
    """A parameter that must be there is not."""
    return ApiError(
        f"Missing required parameter: '{param}'.",
        param=param,
        code="missing_required_parameter",
    )


def wrong_type(param: str, expected: str, value: Any) -> ApiError:
    """A parameter of another JSON type than `expected`, such as "a string"."""
    return ApiError(
        f"Invalid type for '{param}': expected {expected}, but got"
        f" {KINDS.get(type(value), 'something else')} instead.",
        param=param,
        code="invalid_type",
    )


def text(body: Mapping[str, Any], name: str, *, longest: int = 200) -> str:
    """A required string of 1 to `longest` characters."""
    if name not in body:
        raise missing(name)
    value = body[name]
    if not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    if not value:
        raise empty(name)
    check_length(name, value, longest)
    return value


def empty(param: str) -> ApiError:
    """A string that must have a character has none."""
    return ApiError(
        f"Invalid '{param}': empty string. Expected a string with minimum length 1,"
        " but got an empty string instead.",
        param=param,
        code="empty_string",
    )


def too_many(param: str, given: int, most: int) -> ApiError:
    """An array of more than `most` entries."""
    return ApiError(
        f"Invalid '{param}': array too long. Expected an array with maximum length"
        f" {most}, but got an array with length {given} instead.",
        param=param,
        code="array_above_max_length",
    )


def check_length(param: str, value: str, longest: int) -> None:
    """Refuse a string of more than `longest` characters."""
    if len(value) > longest:
        raise ApiError(
            f"Invalid '{param}': string too long. Expected a string with maximum length"
            f" {longest}, but got a string with length {len(value)} instead.",
            param=param,
            code="string_above_max_length",
        )


def one_of(param: str, value: str, allowed: Iterable[str]) -> str:
    """The value, if it is one of the allowed ones."""
    values = list(allowed)
    if value not in values:
        raise ApiError(
            f"Invalid value: '{quoted(value)}'. Supported values are: {listed(values)}.",
            param=param,
            code="invalid_value",
        )
    return value


def listed(values: Iterable[str]) -> str:
    """'a', 'b', and 'c': as OpenAI writes lists."""
    names = [f"'{value}'" for value in values]
    if len(names) < 3:
        return " and ".join(names)
    return f"{', '.join(names[:-1])}, and {names[-1]}"


def integer(param: str, value: Any, *, least: int, most: int) -> int:
    """An integer in the range, or a text of digits that is one."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(param, "an integer", value)
    for bad, side, code, sign, bound in (
        (value < least, "below minimum", "integer_below_min_value", ">=", least),
        (value > most, "above maximum", "integer_above_max_value", "<=", most),
    ):
        if bad:
            raise ApiError(
                f"Invalid '{param}': integer {side} value. Expected a value {sign}"
                f" {bound}, but got {value} instead.",
                param=param,
                code=code,
            )
    return value


def life(value: Any, param: str) -> int | None:
    """Seconds of an expires_after object; None when it is absent or null."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)
    known_only(
        (f"{param}.{key}" for key in value), (f"{param}.anchor", f"{param}.seconds")
    )
    for key in ("anchor", "seconds"):
        if key not in value:
            raise missing(f"{param}.{key}")
    anchor = value["anchor"]
    if not isinstance(anchor, str):
        raise wrong_type(f"{param}.anchor", "a string", anchor)
    one_of(f"{param}.anchor", anchor, ["created_at"])
    least, most = LIFE_SECONDS
    return integer(f"{param}.seconds", value["seconds"], least=least, most=most)


def metadata(value: Any) -> dict[str, str] | None:
    """Up to 16 pairs of short strings, or None."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise wrong_type("metadata", "an object", value)
    if len(value) > METADATA_PAIRS:
        raise ApiError(
            "Invalid 'metadata': too many properties. Expected an object with at most"
            f" {METADATA_PAIRS} properties, but got an object with {len(value)}"
            " properties instead.",
            param="metadata",
            code="object_above_max_properties",
        )
    for key, content in value.items():
        param = f"metadata.{quoted(key)}"
        check_length(param, key, METADATA_KEY)
        if not isinstance(content, str):
            raise wrong_type(param, "a string", content)
        check_length(param, content, METADATA_VALUE)
    return value
