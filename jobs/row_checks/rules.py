# SPDX-License-Identifier: Apache-2.0
"""The kinds of checks: what parameters each takes, and what it says of an answer.

A rule is a plain function of an answer: None when it passes, else the reason in words.
It raises NotApplicable or CannotTell; whatever else it raises is a fault of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.answer_text import CUT_OFF, Answer

from .json_texts import NotJSON, parsed
from .languages import language_of
from .outcome import NotApplicable
from .parameters import (
    Read,
    flag,
    languages,
    pattern,
    phrases,
    schema,
    text,
    unit,
    whole,
)
from .patterns import Pattern
from .refusing import phrase_in

Rule = Callable[[Answer], str | None]
Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """`reads` are the parameters and how each is read; `build` makes the rule of them.

    `required` parameters must be given, `one_of` one at least.
    """

    label: str
    build: Callable[[Params], Rule]
    reads: Mapping[str, Read]
    required: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


def text_of(answer: Answer) -> str:
    """The text to judge; NotApplicable where there is none."""
    if answer.text is None:
        raise NotApplicable("the answer has no text")
    return answer.text


def _json(params: Params) -> Rule:
    def rule(answer: Answer) -> str | None:
        try:
            parsed(text_of(answer))
        except NotJSON as error:
            return f"not JSON: {error}"
        return None

    return rule


def _json_schema(params: Params) -> Rule:
    from .schemas import Schema

    wanted = Schema(params["schema"])

    def rule(answer: Answer) -> str | None:
        try:
            value = parsed(text_of(answer))
        except NotJSON as error:
            return f"not JSON: {error}"
        return wanted.first_error(value)

    return rule


def _regex(params: Params) -> Rule:
    wanted = Pattern(params["pattern"], ignore_case=params.get("ignore_case", False))

    def rule(answer: Answer) -> str | None:
        found = wanted.is_in(text_of(answer))
        return _unless(
            found, params, "the pattern does not match", "the pattern matches"
        )

    return rule


def _contains(params: Params) -> Rule:
    wanted = _folded(params["value"], params)

    def rule(answer: Answer) -> str | None:
        found = wanted in _folded(text_of(answer), params)
        return _unless(found, params, "the text is not in it", "the text is in it")

    return rule


def _equals(params: Params) -> Rule:
    wanted = _folded(params["value"], params).strip()

    def rule(answer: Answer) -> str | None:
        found = _folded(text_of(answer), params).strip() == wanted
        return _unless(found, params, "it is another text", "it is that text")

    return rule


def _folded(value: str, params: Params) -> str:
    return value.casefold() if params.get("ignore_case") else value


def _unless(found: bool, params: Params, missing: str, there: str) -> str | None:
    if params.get("negate"):
        return there if found else None
    return None if found else missing


def _length(params: Params) -> Rule:
    words = params.get("unit", "characters") == "words"
    least, most = params.get("least", 0), params.get("most")

    def rule(answer: Answer) -> str | None:
        content = text_of(answer)
        count = len(content.split()) if words else len(content)
        said = (
            f"{count:,} {'word' if words else 'character'}{'s' if count != 1 else ''}"
        )
        if count < least:
            return f"{said}, fewer than {least:,}"
        if most is not None and count > most:
            return f"{said}, more than {most:,}"
        return None

    return rule


def _not_truncated(params: Params) -> Rule:
    def rule(answer: Answer) -> str | None:
        if not answer.finish_reason:
            raise NotApplicable("the answer has no finish_reason")
        return "cut off at its limit" if answer.finish_reason in CUT_OFF else None

    return rule


def _not_refused(params: Params) -> Rule:
    def rule(answer: Answer) -> str | None:
        if answer.refusal:
            return f"the model refused: {answer.refusal}"
        phrase = phrase_in(text_of(answer), params.get("phrases", ()))
        return phrase and f"reads like a refusal: “{phrase}”"

    return rule


def _not_empty(params: Params) -> Rule:
    def rule(answer: Answer) -> str | None:
        return None if text_of(answer).strip() else "the answer is empty"

    return rule


def _language(params: Params) -> Rule:
    wanted = params["languages"]

    def rule(answer: Answer) -> str | None:
        found = language_of(text_of(answer))
        if found is None:
            raise NotApplicable("too short to tell the language")
        return None if found in wanted else f"reads like {found}"

    return rule


_negatable: dict[str, Read] = {"ignore_case": flag, "negate": flag}
KINDS: dict[str, Kind] = {
    "json_schema": Kind(
        "JSON that satisfies a schema", _json_schema, {"schema": schema}, ("schema",)
    ),
    "json": Kind("JSON", _json, {}),
    "regex": Kind(
        "matches a pattern", _regex, {"pattern": pattern, **_negatable}, ("pattern",)
    ),
    "contains": Kind(
        "contains a text", _contains, {"value": text, **_negatable}, ("value",)
    ),
    "equals": Kind("equals a text", _equals, {"value": text, **_negatable}, ("value",)),
    "length": Kind(
        "has a length",
        _length,
        {"unit": unit, "least": whole, "most": whole},
        one_of=("least", "most"),
    ),
    "not_empty": Kind("is not empty", _not_empty, {}),
    "not_truncated": Kind("is not cut off", _not_truncated, {}),
    "not_refused": Kind("is no refusal (a guess)", _not_refused, {"phrases": phrases}),
    "language": Kind(
        "is in a language (a guess)",
        _language,
        {"languages": languages},
        ("languages",),
    ),
}
