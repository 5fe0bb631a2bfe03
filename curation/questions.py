# SPDX-License-Identifier: Apache-2.0
"""The questions of a rubric, as people write them, and whether an answer fits one.

A question is a JSON object: `key`, `type` and `title` always, the rest by its type; the
table KINDS says which. Answers are a JSON object from key to value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.jsonl import quoted
from jobs.row_checks.parameters import bad, choice, flag, schema, string

from .agreement import Level

QUESTIONS_MOST = 50
OPTIONS_MOST = 100
TITLE_LENGTH = 200
HELP_LENGTH = 2000
TEXT_LENGTH = 200_000
SPANS_MOST = 1000
LARGEST = 1e15
KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
HOTKEY = re.compile(r"[a-z0-9]")
GOALS = ("higher", "lower")
FORMATS = ("text", "json")
VOTES = ("a", "b", "tie", "both_bad")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a type of question needs and may have, beside key, type and title."""

    needs: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()
    level: Level | None = None


# By type. A level is that of its answers, None where people's are not compared.
KINDS: dict[str, Kind] = {
    "label": Kind(("options",), level=Level.NOMINAL),
    "multi_label": Kind(("options",), level=Level.NOMINAL),
    "rating": Kind((), ("min", "max", "goal"), Level.ORDINAL),
    "number": Kind((), ("min", "max", "goal"), Level.INTERVAL),
    "boolean": Kind((), ("goal",), Level.NOMINAL),
    "text": Kind(),
    "correction": Kind((), ("format", "schema")),
    "pairwise": Kind(level=Level.NOMINAL),
    "ranking": Kind(),
    "spans": Kind(("options",)),
}
ALWAYS = ("key", "type", "title")
SOMETIMES = ("help", "required")


@dataclass(frozen=True, slots=True)
class Option:
    """One of several answers; `key` is pressed for it."""

    value: str
    title: str
    help: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question that was found good. `low` and `high` bound ratings and numbers."""

    key: str
    type: str
    title: str
    help: str = ""
    required: bool = True
    options: tuple[Option, ...] = ()
    low: float | None = None
    high: float | None = None
    goal: str = ""
    format: str = "text"
    # JSON text: what a corrected answer must satisfy.
    schema: str = ""

    @property
    def level(self) -> Level | None:
        """How two answers to it are compared; None: they are not."""
        return KINDS[self.type].level

    @property
    def values(self) -> tuple[str, ...]:
        """The values of its options, in their order."""
        return tuple(option.value for option in self.options)

    def as_json(self) -> dict[str, Any]:
        """As `read` takes it, without what is not said."""
        found: dict[str, Any] = {"key": self.key, "type": self.type}
        found |= {"title": self.title}
        if self.help:
            found["help"] = self.help
        if not self.required:
            found["required"] = False
        if self.options:
            found["options"] = [_option_json(option) for option in self.options]
        bounds = {"min": self.low, "max": self.high}
        found |= {name: value for name, value in bounds.items() if value is not None}
        if self.goal:
            found["goal"] = self.goal
        if self.format != "text":
            found["format"] = self.format
        if self.schema:
            found["schema"] = json.loads(self.schema)
        return found


def _option_json(option: Option) -> dict[str, str]:
    whole = {"value": option.value, "title": option.title}
    whole |= {"help": option.help, "key": option.key}
    return {name: text for name, text in whole.items() if text}


def read(param: str, value: Any) -> list[Question]:
    """A rubric's questions; Refused with the name of the field that is wrong."""
    if not isinstance(value, list):
        raise bad(param, "expected an array.", "invalid_type")
    if not value:
        raise bad(param, "a rubric has a question at least.", "empty_array")
    if len(value) > QUESTIONS_MOST:
        why = f"{len(value):,} questions are given, {QUESTIONS_MOST} are allowed."
        raise bad(param, why, "array_above_max_length")
    found = [_question(f"{param}[{n}]", one) for n, one in enumerate(value)]
    keys: set[str] = set()
    for n, one in enumerate(found):
        if one.key in keys:
            raise bad(f"{param}[{n}].key", "another question has this key.")
        keys.add(one.key)
    for kind in ("correction", "pairwise", "ranking"):
        if sum(one.type == kind for one in found) > 1:
            raise bad(param, f"a rubric has one question of type '{kind}' at most.")
    return found


def _question(param: str, value: Any) -> Question:
    if not isinstance(value, dict):
        raise bad(param, "expected an object.", "invalid_type")
    given = {name: one for name, one in value.items() if one is not None}
    for name in ALWAYS:
        if name not in given:
            raise _missing(f"{param}.{name}")
    type_ = choice(f"{param}.type", given["type"], KINDS)
    kind = KINDS[type_]
    for name in given:
        if name not in (*ALWAYS, *SOMETIMES, *kind.needs, *kind.may_have):
            said = f"{param}.{quoted(name, 50)}"
            why = f"a question of type '{type_}' has no such field."
            raise bad(said, why, "unknown_parameter")
    for name in kind.needs:
        if name not in given:
            raise _missing(f"{param}.{name}")
    low, high = _bounds(param, type_, given)
    form = choice(f"{param}.format", given.get("format", "text"), FORMATS)
    if "schema" in given and form != "json":
        raise bad(f"{param}.schema", 'it needs "format": "json".')
    return Question(
        key=_key(f"{param}.key", given["key"]),
        type=type_,
        title=_line(f"{param}.title", given["title"], TITLE_LENGTH),
        help=_text(f"{param}.help", given.get("help", ""), HELP_LENGTH),
        required=flag(f"{param}.required", given.get("required", True)),
        options=_options(f"{param}.options", given["options"])
        if "options" in given
        else (),
        low=low,
        high=high,
        goal=choice(f"{param}.goal", given["goal"], GOALS) if "goal" in given else "",
        format=form,
        schema=_schema(f"{param}.schema", given["schema"]) if "schema" in given else "",
    )


def _missing(param: str) -> Exception:
    return bad(param, "it is required.", "missing_required_parameter")


def _key(param: str, value: Any) -> str:
    key = string(param, value, 40)
    if not KEY.fullmatch(key):
        raise bad(param, "use a to z, 0 to 9 and _, a letter first.")
    return key


def _line(param: str, value: Any, longest: int) -> str:
    found = string(param, value, longest).strip()
    if not found or not found.isprintable():
        raise bad(param, "use printable characters, in one line.")
    return found


def _text(param: str, value: Any, longest: int) -> str:
    found = string(param, value, longest) if value != "" else ""
    if "\0" in found:
        raise bad(param, "the string has a NUL character.")
    return found


def _schema(param: str, value: Any) -> str:
    return json.dumps(schema(param, value), sort_keys=True)


def _options(param: str, value: Any) -> tuple[Option, ...]:
    if not isinstance(value, list):
        raise bad(param, "expected an array.", "invalid_type")
    if not value:
        raise bad(param, "it has an option at least.", "empty_array")
    if len(value) > OPTIONS_MOST:
        why = f"{len(value):,} options are given, {OPTIONS_MOST} are allowed."
        raise bad(param, why, "array_above_max_length")
    found = [_option(f"{param}[{n}]", one) for n, one in enumerate(value)]
    for name in ("value", "key"):
        seen: set[str] = set()
        for n, one in enumerate(found):
            given: str = getattr(one, name)
            if given and given in seen:
                raise bad(f"{param}[{n}].{name}", "another option has the same.")
            seen.add(given)
    return tuple(found)


def _option(param: str, value: Any) -> Option:
    """An option, or its value alone."""
    if isinstance(value, str):
        value = {"value": value}
    if not isinstance(value, dict):
        raise bad(param, "expected an object or a string.", "invalid_type")
    given = {name: one for name, one in value.items() if one is not None}
    for name in given:
        if name not in ("value", "title", "help", "key"):
            said = f"{param}.{quoted(name, 50)}"
            raise bad(said, "an option has no such field.", "unknown_parameter")
    if "value" not in given:
        raise _missing(f"{param}.value")
    key = given.get("key", "")
    if key and not (isinstance(key, str) and HOTKEY.fullmatch(key)):
        raise bad(f"{param}.key", "expected one of a to z and 0 to 9.")
    name = _line(f"{param}.value", given["value"], TITLE_LENGTH)
    return Option(
        name,
        _line(f"{param}.title", given.get("title", name), TITLE_LENGTH),
        _text(f"{param}.help", given.get("help", ""), HELP_LENGTH),
        key,
    )


def _bounds(
    param: str, type_: str, given: Mapping[str, Any]
) -> tuple[float | None, float | None]:
    if type_ not in ("rating", "number"):
        return None, None
    found: list[float | None] = []
    for name, default in (("min", 1), ("max", 10)):
        value = given.get(name, default if type_ == "rating" else None)
        if value is not None and not _is_number(value):
            raise bad(f"{param}.{name}", "expected a number.", "invalid_type")
        if type_ == "rating" and value not in range(11):
            raise bad(f"{param}.{name}", "a rating lies within 0 and 10.")
        found.append(value)
    low, high = found
    if low is not None and high is not None and low >= high:
        raise bad(f"{param}.max", "it is not more than 'min'.")
    return low, high


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        # Of no infinity and of no NaN, and exact for integers of any length.
        and abs(value) <= LARGEST
    )


# --- answers


def read_answers(
    questions: Sequence[Question],
    given: Any,
    *,
    final: bool,
    candidates: int = 1,
    param: str = "answers",
) -> dict[str, Any]:
    """The answers that fit their questions; Refused names the first that does not.

    A draft may leave out what is required. `candidates` is how many answers are
    compared. What is null counts as not given.
    """
    if not isinstance(given, dict):
        raise bad(param, "expected an object.", "invalid_type")
    known = {question.key: question for question in questions}
    for key in given:
        if key not in known:
            said = f"{param}.{quoted(key, 50)}"
            raise bad(said, "the rubric has no such question.", "unknown_parameter")
    found = {}
    for key, question in known.items():
        value = given.get(key)
        if value is None or value in ("", []):
            if final and question.required:
                raise bad(f"{param}.{key}", f"“{question.title}” needs an answer.")
            continue
        reader = READERS[question.type]
        found[key] = reader(f"{param}.{key}", value, question, candidates)
        if final and question.type == "correction":
            _check_correction(f"{param}.{key}", found[key], question)
    return found


Reader = Callable[[str, Any, Question, int], Any]


def _label(param: str, value: Any, question: Question, _: int) -> str:
    return choice(param, value, question.values)


def _labels(param: str, value: Any, question: Question, _: int) -> list[str]:
    if not isinstance(value, list):
        raise bad(param, "expected an array of strings.", "invalid_type")
    chosen = {
        choice(f"{param}[{n}]", one, question.values) for n, one in enumerate(value)
    }
    # In the rubric's order, so that equal choices are equal values.
    return [one for one in question.values if one in chosen]


def _rating(param: str, value: Any, question: Question, _: int) -> int:
    low, high = int(question.low or 0), int(question.high or 10)
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad(param, "expected an integer.", "invalid_type")
    if not low <= value <= high:
        raise bad(param, f"expected {low} to {high}.")
    return value


def _number(param: str, value: Any, question: Question, _: int) -> float:
    if not _is_number(value):
        raise bad(param, "expected a number.", "invalid_type")
    number: float = value
    if question.low is not None and number < question.low:
        raise bad(param, f"expected {question.low:g} or more.")
    if question.high is not None and number > question.high:
        raise bad(param, f"expected {question.high:g} or less.")
    return number


def _boolean(param: str, value: Any, question: Question, _: int) -> bool:
    return flag(param, value)


def _words(param: str, value: Any, question: Question, _: int) -> str:
    return _text(param, value, TEXT_LENGTH)


def _vote(param: str, value: Any, question: Question, candidates: int) -> str:
    if candidates != 2:
        raise bad(param, "it compares two answers, and this item has not two.")
    return choice(param, value, VOTES)


def _ranking(
    param: str, value: Any, question: Question, candidates: int
) -> list[list[int]]:
    """Places from the best to the worst, ties together: [[1], [0, 2]]."""
    why = f"expected arrays of the places 0 to {candidates - 1}, each place once."
    if not isinstance(value, list):
        raise bad(param, why, "invalid_type")
    tiers = [tier if isinstance(tier, list) else [tier] for tier in value]
    places = [place for tier in tiers for place in tier]
    if any(not isinstance(p, int) or isinstance(p, bool) for p in places):
        raise bad(param, why, "invalid_type")
    if sorted(places) != list(range(candidates)) or not all(tiers):
        raise bad(param, why)
    return [sorted(tier) for tier in tiers]


def _spans(param: str, value: Any, question: Question, _: int) -> list[dict[str, Any]]:
    """Marked parts of the answer: characters from `start` to before `end`."""
    if not isinstance(value, list):
        raise bad(param, "expected an array of objects.", "invalid_type")
    if len(value) > SPANS_MOST:
        why = f"{len(value):,} parts are marked, {SPANS_MOST:,} are allowed."
        raise bad(param, why, "array_above_max_length")
    found = []
    for n, one in enumerate(value):
        where = f"{param}[{n}]"
        if not isinstance(one, dict) or one.keys() != {"start", "end", "label"}:
            raise bad(where, "expected start, end and label.", "invalid_type")
        start, end = one["start"], one["end"]
        if any(not isinstance(p, int) or isinstance(p, bool) for p in (start, end)):
            raise bad(where, "start and end are integers.", "invalid_type")
        if not 0 <= start < end <= TEXT_LENGTH * 10:
            raise bad(where, "start lies before end, and both within the answer.")
        label = choice(f"{where}.label", one["label"], question.values)
        found.append({"start": start, "end": end, "label": label})
    return sorted(found, key=lambda one: (one["start"], one["end"], one["label"]))


READERS: dict[str, Reader] = {
    "label": _label,
    "multi_label": _labels,
    "rating": _rating,
    "number": _number,
    "boolean": _boolean,
    "text": _words,
    "correction": _words,
    "pairwise": _vote,
    "ranking": _ranking,
    "spans": _spans,
}


def _check_correction(param: str, text: str, question: Question) -> None:
    """Refuse a corrected answer that is not in the form that its question names."""
    if question.format != "json":
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad(param, f"it is no JSON: {quoted(str(error), 100)}.") from None
    if question.schema:
        from jobs.row_checks.outcome import CannotTell
        from jobs.row_checks.schemas import Schema

        try:
            why = Schema(json.loads(question.schema)).first_error(value)
        except CannotTell as cannot:
            raise bad(param, f"{cannot}.") from None
        if why:
            raise bad(param, f"it does not satisfy the schema: {quoted(why, 200)}.")
