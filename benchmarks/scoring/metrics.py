# SPDX-License-Identifier: Apache-2.0
"""Metrics as suites have them: read from JSON, and put to answers."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jobs.jsonl import quoted
from jobs.row_checks import parameters
from jobs.row_checks.outcome import CannotTell
from jobs.row_checks.parameters import bad

from .kinds import KINDS
from .scorers import NotScored, Params, Scorer

MOST_METRICS = 10
# The mean of an item's metrics, so that suites of several kinds have one figure.
OVERALL = "score"
NAME_LENGTH = 40
MEMBERS = ("kind", "name", "params")
NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with its parameters; `name` is what it is called in figures."""

    kind: str
    name: str
    params: Params = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As `read` takes it."""
        return {"kind": self.kind, "name": self.name, "params": dict(self.params)}

    def scorer(self) -> Scorer:
        """The function that scores; make it once for many answers."""
        return KINDS[self.kind].build(self.params)


def read(param: str, value: Any) -> list[Metric]:
    """Metrics from JSON: a list of {"kind", "name", "params"}; Refused names the field."""
    if not isinstance(value, list):
        raise bad(param, "expected an array of objects.", "invalid_type")
    if len(value) > MOST_METRICS:
        raise bad(param, f"at most {MOST_METRICS} metrics.", "array_above_max_length")
    found = [_metric(f"{param}[{n}]", one) for n, one in enumerate(value)]
    names = Counter(metric.name for metric in found)
    for number, metric in enumerate(found):
        if names[metric.name] > 1:
            why = f"two metrics are named '{metric.name}'; give them a name."
            raise bad(f"{param}[{number}].name", why)
    return found


@lru_cache(maxsize=512)
def read_kept(text: str) -> list[Metric]:
    """Metrics of a JSON text; the same text is checked once. Not to be changed."""
    return read("metrics", json.loads(text))


def _metric(param: str, value: Any) -> Metric:
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, dict):
        raise bad(param, "expected an object.", "invalid_type")
    for member in value:
        if member not in MEMBERS:
            where = f"{param}.{quoted(str(member), 50)}"
            raise bad(where, "a metric has no such field.", "unknown_parameter")
    kind_name = parameters.choice(f"{param}.kind", value.get("kind"), KINDS)
    kind = KINDS[kind_name]
    given = value.get("params") or {}
    if not isinstance(given, dict):
        raise bad(f"{param}.params", "expected an object.", "invalid_type")
    params: dict[str, Any] = {}
    for member, content in given.items():
        where = f"{param}.params.{quoted(str(member), 50)}"
        if member not in kind.reads:
            raise bad(where, f"'{kind_name}' has no such parameter.")
        params[member] = kind.reads[member](where, content)
    for member in kind.required:
        if member not in params:
            where = f"{param}.params.{member}"
            raise bad(where, f"'{kind_name}' needs it.", "missing_required_parameter")
    return Metric(
        kind_name, _name(f"{param}.name", value.get("name", kind_name)), params
    )


def _name(param: str, value: Any) -> str:
    name = parameters.string(param, value, NAME_LENGTH)
    if not NAME.fullmatch(name):
        raise bad(param, "use letters, figures, '_' and '-'.")
    if name == OVERALL:
        raise bad(param, f"'{OVERALL}' is the mean of all metrics.")
    return name


def score(metric: Metric, text: str | None, reference: Any) -> float | None:
    """One answer by one metric; None where the metric has nothing to say of the item."""
    return scored(metric, metric.scorer(), text, reference)


def scored(
    metric: Metric, scorer: Scorer, text: str | None, reference: Any
) -> float | None:
    """The same with a scorer that was made before."""
    if KINDS[metric.kind].needs_reference and reference is None:
        return None
    if text is None:
        return 0.0
    try:
        return scorer(text, reference)
    except (NotScored, CannotTell):
        return None
    except (ArithmeticError, RecursionError, ValueError):
        # Numbers of hundreds of digits and the like: nobody can tell.
        return None
