# SPDX-License-Identifier: Apache-2.0
"""Checks as people write them: a name, a kind and its parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jobs.answer_text import Answer
from jobs.jsonl import quoted

from .outcome import CannotTell, Finding, NotApplicable, Outcome, finding
from .parameters import bad, choice, string
from .rules import KINDS, Rule

CHECKS_MOST = 20
NAME_LENGTH = 40
MEMBERS = ("name", "kind", "params")
# Of all parameters of a batch's checks, as JSON.
CHARACTERS_MOST = 60_000


@dataclass(frozen=True, slots=True)
class Definition:
    """A check that was found good; its name is the column's title."""

    name: str
    kind: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def params_text(self) -> str:
        """The parameters as they are stored: JSON, whatever characters are in them."""
        return json.dumps(self.params, sort_keys=True)


def read(param: str, value: Any) -> list[Definition]:
    """A list of checks; Refused with the name of the field that is wrong."""
    if not isinstance(value, list):
        raise bad(param, "expected an array.", "invalid_type")
    if len(value) > CHECKS_MOST:
        why = f"the array has {len(value):,} checks, {CHECKS_MOST} are allowed."
        raise bad(param, why, "array_above_max_length")
    found = [read_one(f"{param}[{n}]", one) for n, one in enumerate(value)]
    names: set[str] = set()
    for n, one in enumerate(found):
        if one.name in names:
            raise bad(f"{param}[{n}].name", "another check has this name.")
        names.add(one.name)
    check_size(param, found)
    return found


def check_size(param: str, checks: Sequence[Definition]) -> None:
    """Refuse more than a batch's row of checks can carry."""
    if len(checks) > CHECKS_MOST:
        raise bad(param, f"a batch has {CHECKS_MOST} checks at most.")
    if sum(len(one.params_text) for one in checks) > CHARACTERS_MOST:
        why = f"all parameters together have more than {CHARACTERS_MOST:,} characters."
        raise bad(param, why)


def read_one(param: str, value: Any) -> Definition:
    """One check; what is null counts as not given."""
    if not isinstance(value, dict):
        raise bad(param, "expected an object.", "invalid_type")
    _known_only(param, value, MEMBERS)
    given = {name: content for name, content in value.items() if content is not None}
    for name in ("name", "kind"):
        _must_have(param, given, name)
    title = string(f"{param}.name", given["name"], NAME_LENGTH)
    if not title.isprintable() or title != title.strip():
        why = "use printable characters, no space at either end."
        raise bad(f"{param}.name", why)
    kind = choice(f"{param}.kind", given["kind"], KINDS)
    return Definition(title, kind, _params(f"{param}.params", kind, given))


def _params(param: str, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    params = given.get("params", {})
    if not isinstance(params, dict):
        raise bad(param, "expected an object.", "invalid_type")
    known = KINDS[kind]
    _known_only(param, params, known.reads)
    found = {
        name: known.reads[name](f"{param}.{name}", value)
        for name, value in params.items()
        if value is not None
    }
    for name in known.required:
        _must_have(param, found, name)
    if known.one_of and not any(name in found for name in known.one_of):
        raise bad(param, f"give {' or '.join(known.one_of)}.")
    if found.get("least", 0) > found.get("most", float("inf")):
        raise bad(f"{param}.most", "it is less than 'least'.")
    return found


def _known_only(
    param: str, given: Mapping[str, Any], known: Sequence[str] | Mapping[str, Any]
) -> None:
    for name in given:
        if name not in known:
            said = f"{param}.{quoted(name, 50)}"
            raise bad(said, "it is unknown here.", "unknown_parameter")


def _must_have(param: str, given: Mapping[str, Any], name: str) -> None:
    if name not in given:
        raise bad(f"{param}.{name}", "it is required.", "missing_required_parameter")


@lru_cache(maxsize=256)
def rule_of(kind: str, params_text: str) -> Rule:
    """The rule of a stored check, built once a process."""
    return KINDS[kind].build(json.loads(params_text))


def judge(kind: str, params_text: str, answer: Answer | None) -> Finding:
    """What the check says of an answer, None for a request that failed; never raises."""
    if answer is None:
        return finding(Outcome.NOT_APPLICABLE, "the request failed")
    try:
        reason = rule_of(kind, params_text)(answer)
    except NotApplicable as why:
        return finding(Outcome.NOT_APPLICABLE, str(why))
    except CannotTell as why:
        return finding(Outcome.ERROR, str(why))
    except Exception as error:
        # A fault of the check, which must keep neither the other checks nor the batch.
        return finding(Outcome.ERROR, f"{type(error).__name__}: {error}")
    return finding(Outcome.PASSED if reason is None else Outcome.FAILED, reason or "")
