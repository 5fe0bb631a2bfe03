# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of users on answers of models: nothing is fetched, and each try ends.

Patterns are RE2's, references stay within the schema, and one answer gets so much
processor time and no more. jsonschema is slow to import: who needs no schema leaves
this module alone.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError, validators
from referencing import Registry
from referencing.exceptions import Unresolvable

from .outcome import CannotTell
from .patterns import BadPattern, Pattern

SCHEMA_NESTING = 30
# Of processor time, so that a busy machine changes no outcome.
SECONDS = 1.0
# jsonschema runs their patterns by Python's own module, past the ones here.
NOT_SUPPORTED = ("unevaluatedProperties", "unevaluatedItems")
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class BadSchema(ValueError):
    """The value is no schema that can be used here; the message says why."""


class Schema:
    """A schema that was checked, ready for answers; BadSchema when it is none."""

    def __init__(self, schema: Any) -> None:
        check(schema)
        # A registry of its own, as the default one fetches what it does not know.
        self._validator = _validator_class()(schema, registry=Registry())

    def first_error(self, value: Any) -> str | None:
        """Where and why the value does not satisfy the schema; None: it does."""
        try:
            with _clock:
                error = next(iter(self._validator.iter_errors(value)), None)
                return error and f"{error.json_path[:80]}: {error.message}"
        except RecursionError:
            raise CannotTell("nested too deeply to be checked") from None
        except Unresolvable as error:
            raise CannotTell(
                f"the schema refers to {error.ref}, unknown here"
            ) from None


def check(schema: Any) -> None:
    """Refuse what is no schema, or reaches outside of it."""
    if not isinstance(schema, dict | bool):
        raise BadSchema("a schema is an object")
    for keyword, value in _walk(schema):
        if keyword in NOT_SUPPORTED:
            raise BadSchema(f"'{keyword}' is not supported")
        if keyword in REFERENCES and not (
            isinstance(value, str) and value.startswith("#")
        ):
            raise BadSchema(f"'{keyword}' must begin with '#': nothing is fetched")
        try:
            if keyword == "pattern" and isinstance(value, str):
                _pattern(value)
            elif keyword == "patternProperties" and isinstance(value, dict):
                any(map(_pattern, value))
        except BadPattern as error:
            raise BadSchema(f"a pattern cannot be used: {error}") from None
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise BadSchema(f"{error.json_path[:80]}: {error.message}") from None


def _walk(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every member at any depth; among them names of properties, which do no harm."""
    level, depth = [schema], 0
    while level:
        if depth > SCHEMA_NESTING:
            raise BadSchema(f"nested more than {SCHEMA_NESTING} levels deep")
        depth += 1
        deeper: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                yield from part.items()
                deeper += part.values()
            elif isinstance(part, list):
                deeper += part
        level = deeper


class _Clock(threading.local):
    """Ends a try that has used its time; looked at by each keyword of this thread's try."""

    _end = float("inf")

    def __enter__(self) -> None:
        self._end = time.thread_time() + SECONDS

    def __exit__(self, *error: object) -> None:
        self._end = float("inf")

    def look(self) -> None:
        """CannotTell when the time is up."""
        if time.thread_time() > self._end:
            raise CannotTell(f"not checked within {SECONDS:g} s of processor time")


_clock = _Clock()


@cache
def _pattern(text: str) -> Pattern:
    return Pattern(text)


def _timed(keyword: Keyword) -> Keyword:
    def run(
        validator: Any, value: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        _clock.look()
        yield from keyword(validator, value, instance, schema) or ()

    return run


def _pattern_keyword(
    validator: Any, pattern: str, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _pattern(pattern).is_in(instance):
        yield ValidationError(f"{instance[:80]!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, inner in patterns.items():
        for key, value in instance.items():
            _clock.look()
            if _pattern(pattern).is_in(key):
                yield from validator.descend(
                    value, inner, path=key, schema_path=pattern
                )


def _additional_properties(
    validator: Any, inner: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known = schema.get("properties", {})
    patterns = [_pattern(text) for text in schema.get("patternProperties", {})]
    for key, value in instance.items():
        _clock.look()
        if key in known or any(pattern.is_in(key) for pattern in patterns):
            continue
        if inner is False:
            yield ValidationError(f"{key[:80]!r} is not among the properties")
        else:
            yield from validator.descend(value, inner, path=key)


def _unique_items(
    validator: Any, unique: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not unique or not isinstance(instance, list):
        return
    seen: set[str] = set()
    for place, item in enumerate(instance):
        _clock.look()
        text = json.dumps(_plain(item), sort_keys=True)
        if text in seen:
            yield ValidationError(f"item {place + 1} is there twice")
            return
        seen.add(text)


def _plain(value: Any) -> Any:
    """1.0 as 1, which are one number in JSON schemas."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


@cache
def _validator_class() -> Any:
    """The draft's validator with the keywords above, and a clock before each."""
    own: dict[str, Keyword] = {
        "pattern": _pattern_keyword,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    keywords: dict[str, Keyword] = {**Draft202012Validator.VALIDATORS, **own}
    return validators.extend(
        Draft202012Validator,
        {name: _timed(keyword) for name, keyword in keywords.items()},
    )
