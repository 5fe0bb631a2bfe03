# SPDX-License-Identifier: Apache-2.0
"""The kinds of metrics, and what parameters each takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.row_checks import parameters
from jobs.row_checks.parameters import bad

from . import texts, values
from .scorers import Params, Scorer


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of metric: `reads` are its parameters, `build` makes the scorer of them."""

    label: str
    build: Callable[[Params], Scorer]
    reads: Mapping[str, parameters.Read] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    needs_reference: bool = True


def _share(param: str, value: Any) -> float:
    """A number from 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad(param, "expected a number.", "invalid_type")
    if not 0 <= value <= values.LARGEST:
        raise bad(param, "expected a number from 0.")
    return float(value)


PATTERN = {
    "pattern": parameters.pattern,
    "ignore_case": parameters.flag,
    "negate": parameters.flag,
}
KINDS: dict[str, Kind] = {
    "exact": Kind("the same text", texts.by_exact),
    "normalised": Kind("the same words", texts.by_normalised),
    "contains": Kind("has the text in it", texts.by_contains),
    "token_f1": Kind("words in common (F1)", texts.by_token_f1),
    "regex": Kind(
        "a pattern matches",
        texts.by_regex,
        PATTERN,
        required=("pattern",),
        needs_reference=False,
    ),
    "numeric": Kind(
        "the same number", values.by_numeric, {"tolerance": _share, "relative": _share}
    ),
    "json_schema": Kind(
        "JSON that fits a schema",
        values.by_json_schema,
        {"schema": parameters.schema},
        required=("schema",),
        needs_reference=False,
    ),
    "fields": Kind("right fields of JSON (F1)", values.by_fields),
}
