# SPDX-License-Identifier: Apache-2.0
"""Metrics over the number or the JSON of an answer."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from jobs.row_checks.json_texts import NotJSON, parsed

from .scorers import NotScored, Params, Scorer
from .texts import f1, normalised

# A number as models write it: 1,234.5 or -3e8.
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+)?|-?\.\d+")
FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
LARGEST = 1e300


def last_number(text: str) -> float | None:
    """The last number of a text: what answers that reckon aloud end with."""
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def by_numeric(params: Params) -> Scorer:
    """Right within the tolerance: absolute, or relative to the reference (math.isclose)."""
    absolute, relative = params.get("tolerance", 0.0), params.get("relative", 1e-9)

    def score(text: str, reference: Any) -> float:
        wanted = reference
        if isinstance(reference, str):
            wanted = last_number(reference)
        if isinstance(wanted, bool) or not isinstance(wanted, (int, float)):
            raise NotScored("the reference is no number")
        said = last_number(text)
        if said is None:
            return 0.0
        return float(math.isclose(said, wanted, abs_tol=absolute, rel_tol=relative))

    return score


def json_of(text: str) -> Any:
    """The JSON of an answer, also where it stands in a block of Markdown; or NotJSON."""
    try:
        return parsed(text)
    except NotJSON:
        fenced = FENCED.search(text)
        if fenced is None:
            raise
        return parsed(fenced[1])


def by_json_schema(params: Params) -> Scorer:
    from jobs.row_checks.schemas import Schema

    wanted = Schema(params["schema"])

    def score(text: str, reference: Any) -> float:
        try:
            value = json_of(text)
        except NotJSON:
            return 0.0
        return float(wanted.first_error(value) is None)

    return score


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Each value that has no members, with its path; places in lists do not matter."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, str(name)))
    elif isinstance(value, list) and value:
        for inner in value:
            yield from leaves(inner, (*path, "[]"))
    else:
        yield (*path, _comparable(value))


def _comparable(value: Any) -> str:
    """1 and 1.0 are the same, 1 and true are not, and texts are compared normalised."""
    if isinstance(value, str):
        return f"s:{normalised(value)}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"n:{float(value) if abs(value) < LARGEST else value!r}"
    return f"o:{json.dumps(value)}"


def by_fields(params: Params) -> Scorer:
    """F1 over the leaves: which fields are there, and have the right value."""

    def score(text: str, reference: Any) -> float:
        if not isinstance(reference, (dict, list)):
            raise NotScored("the reference is no JSON object")
        try:
            value = json_of(text)
        except NotJSON:
            return 0.0
        return f1(Counter(leaves(value)), Counter(leaves(reference)))

    return score
