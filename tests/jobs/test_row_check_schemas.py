# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of users: what they say, and that none hangs, fetches or backtracks."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest

from jobs.row_checks.outcome import CannotTell
from jobs.row_checks.patterns import BadPattern, Pattern
from jobs.row_checks.schemas import BadSchema, Schema

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "pattern": "^[A-Z]"},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "next": {"$ref": "#"},
    },
    "patternProperties": {"^x-": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Ann"},
        {"name": "Ann", "tags": ["a", "b"], "x-1": 3},
        {"name": "Ann", "next": {"name": "Bob"}},
    ],
)
def test_what_satisfies_the_schema(value: Any) -> None:
    assert Schema(PERSON).first_error(value) is None


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ([], "$"),
        ({}, "$"),
        ({"name": "ann"}, "$.name"),
        ({"name": "Ann", "tags": ["a", "a"]}, "$.tags"),
        ({"name": "Ann", "tags": ["a", 1]}, "$.tags[1]"),
        ({"name": "Ann", "x-1": "3"}, "$['x-1']"),
        ({"name": "Ann", "age": 3}, "$"),
        ({"name": "Ann", "next": {"name": ""}}, "$.next.name"),
    ],
)
def test_what_does_not_and_where(value: Any, where: str) -> None:
    error = Schema(PERSON).first_error(value)
    assert error is not None
    assert error.partition(": ")[0] == where


def test_numbers_that_are_one_are_not_unique() -> None:
    unique = Schema({"uniqueItems": True})
    assert unique.first_error([1, 1.0])
    assert unique.first_error([{"a": 1, "b": 2}, {"b": 2, "a": 1}])
    assert unique.first_error([1, True, "1", [1], None]) is None


@pytest.mark.parametrize(
    "schema",
    [
        [],
        "object",
        {"type": "person"},
        {"minLength": -1},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"$dynamicRef": "other.json#a"}}},
        {"pattern": "(?=a)"},
        {"pattern": "("},
        {"patternProperties": {"(a)\\1": {}}},
        {"unevaluatedProperties": False},
        json.loads('{"not": ' * 60 + "{}" + "}" * 60),
    ],
)
def test_schemas_that_are_refused(schema: Any) -> None:
    with pytest.raises(BadSchema):
        Schema(schema)


def test_a_reference_to_nothing_is_told_and_nothing_is_fetched() -> None:
    # sockets are closed in this suite but for loopback
    for schema in (
        {"$ref": "#/$defs/gone"},
        {"$id": "https://example.com/a.json", "$ref": "#/$defs/gone"},
        {"$ref": "#anchor"},
    ):
        with pytest.raises(CannotTell):
            Schema(schema).first_error({})


def doubling(depth: int) -> dict[str, Any]:
    """A small schema that takes 2 ** depth steps."""
    defs: dict[str, Any] = {"d0": {"type": "object"}}
    for n in range(1, depth):
        inner = {"$ref": f"#/$defs/d{n - 1}"}
        defs[f"d{n}"] = {"allOf": [inner, inner]}
    return {"$defs": defs, "$ref": f"#/$defs/d{depth - 1}"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (doubling(40), {}),
        ({"$ref": "#"}, {}),
        ({"anyOf": [{"items": {"$ref": "#"}}, {"type": "string"}]}, None),
        ({"items": {"enum": [[n] for n in range(2000)]}}, [[1999]] * 100_000),
    ],
)
def test_schemas_that_would_not_end(schema: dict[str, Any], value: Any) -> None:
    if value is None:
        value = []
        for _ in range(5000):
            value = [value]
    began = time.thread_time()
    with pytest.raises(CannotTell):
        Schema(schema).first_error(value)
    assert time.thread_time() - began < 10


def test_unique_items_of_many_objects_take_no_square_of_time() -> None:
    began = time.thread_time()
    items = [{"n": n} for n in range(30_000)]
    # giving up is an end too
    with contextlib.suppress(CannotTell):
        assert Schema({"uniqueItems": True}).first_error(items) is None
    assert time.thread_time() - began < 10


@pytest.mark.parametrize(
    "bomb",
    [
        "(a+)+$",
        "(a|aa)+$",
        "(.*a){20}",
        "(?:(?:a{30}){30})*b",
        "(x?){200}x{200}z",
        "((a{0,100}){0,9}c)|(.{0,500}q)",
    ],
)
def test_patterns_cannot_backtrack(bomb: str) -> None:
    began = time.thread_time()
    for text in ("a" * 1_000_000 + "!", "x" * 40_000):
        try:
            Pattern(bomb).is_in(text)
        except CannotTell as why:
            assert "longer than" in str(why)
    assert time.thread_time() - began < 10


@pytest.mark.parametrize("bad", ["(", "(?=a)", "(a)\\1", "a{2000}", "\ud800"])
def test_patterns_that_are_refused(bad: str) -> None:
    with pytest.raises(BadPattern) as refused:
        Pattern(bad)
    assert str(refused.value)
