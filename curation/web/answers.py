# SPDX-License-Identifier: Apache-2.0
"""Questions as fields of a form, and what comes back as answers.

The field of a question is named `a-` and its key; a ranking has one for each place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from curation.questions import Option, Question

# What draws a question, where it is not named as its type.
TEMPLATES = {
    "label": "choices",
    "multi_label": "choices",
    "boolean": "choices",
    "pairwise": "choices",
    "rating": "steps",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer that can be chosen; `key` is pressed for it."""

    value: str
    title: str
    key: str
    chosen: bool
    help: str = ""


@dataclass(frozen=True, slots=True)
class Rank:
    """The place from the top that a candidate was given; "" is none."""

    name: str
    letter: str
    value: str


@dataclass(frozen=True, slots=True)
class Field:
    """A question as it is shown, with what was said so far."""

    question: Question
    name: str
    choices: Sequence[Choice] = ()
    ranks: Sequence[Rank] = ()
    value: str = ""
    error: str = ""

    @property
    def template(self) -> str:
        """What draws it."""
        return f"curation/_question_{TEMPLATES.get(self.question.type, self.question.type)}.html"

    @property
    def hint(self) -> str:
        """What is said beside its title."""
        question = self.question
        if question.type in ("rating", "number"):
            low, high = question.low, question.high
            if low is not None and high is not None:
                bounds = f"{low:g} to {high:g}"
                return bounds if question.required else f"{bounds}, optional"
        return "required" if question.required else "optional"


def name_of(question: Question) -> str:
    """The name of the question's field."""
    return f"a-{question.key}"


# --- what comes back


def read_form(
    questions: Sequence[Question], data: QueryDict, *, original: str, candidates: int
) -> dict[str, Any]:
    """Answers for read_answers, which also refuses what is no number or no JSON here.

    `original` is the answer that a correction began with: left as it was, it says
    nothing where it may be left out.
    """
    found = {}
    for question in questions:
        read = FORM_READERS[question.type]
        value = read(question, data, original, candidates)
        if value not in (None, "", []):
            found[question.key] = value
    return found


FormReader = Callable[[Question, QueryDict, str, int], Any]


def _one(question: Question, data: QueryDict, _: str, __: int) -> Any:
    return data.get(name_of(question), "")


def _text(question: Question, data: QueryDict, _: str, __: int) -> Any:
    return _unix(data.get(name_of(question), ""))


def _several(question: Question, data: QueryDict, _: str, __: int) -> Any:
    return data.getlist(name_of(question))


def _yes_or_no(question: Question, data: QueryDict, _: str, __: int) -> Any:
    return {"true": True, "false": False}.get(data.get(name_of(question), ""))


def _number(question: Question, data: QueryDict, _: str, __: int) -> Any:
    text = data.get(name_of(question), "").strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _correction(question: Question, data: QueryDict, original: str, _: int) -> Any:
    text = _unix(data.get(name_of(question), ""))
    if text == _unix(original) and not question.required:
        return None
    return text


def _ranking(question: Question, data: QueryDict, _: str, candidates: int) -> Any:
    tiers: dict[int, list[int]] = {}
    name = name_of(question)
    for place in range(candidates):
        rank = data.get(f"{name}-{place}", "")
        if rank.isascii() and rank.isdecimal() and len(rank) < 4:
            tiers.setdefault(int(rank), []).append(place)
    return [tiers[rank] for rank in sorted(tiers)] if tiers else None


def _spans(question: Question, data: QueryDict, _: str, __: int) -> Any:
    text = data.get(name_of(question), "")
    try:
        return json.loads(text or "[]")
    except (ValueError, RecursionError):
        return text


FORM_READERS: dict[str, FormReader] = {
    "label": _one,
    "multi_label": _several,
    "rating": _number,
    "number": _number,
    "boolean": _yes_or_no,
    "text": _text,
    "correction": _correction,
    "pairwise": _one,
    "ranking": _ranking,
    "spans": _spans,
}


def _unix(text: str) -> str:
    """Browsers send lines as mail does."""
    return text.replace("\r\n", "\n")


# --- what is shown


def fields(
    questions: Sequence[Question],
    answers: Mapping[str, Any],
    *,
    original: str,
    layout: Sequence[int],
    errors: Mapping[str, str] = {},
) -> list[Field]:
    """The questions with these answers; `layout`: the candidates' places as shown."""
    found = []
    for question in questions:
        value = answers.get(question.key)
        found.append(
            Field(
                question,
                name_of(question),
                _choices(question, value, layout),
                _ranks(question, value, layout),
                _shown(question, value, original),
                errors.get(question.key, ""),
            )
        )
    return found


def letters(layout: Sequence[int]) -> dict[int, str]:
    """What each place is called by who sees them in this order: A, B, C …"""
    return {place: chr(ord("A") + n) for n, place in enumerate(layout)}


def _choices(question: Question, value: Any, layout: Sequence[int]) -> list[Choice]:
    if question.type in ("label", "multi_label", "spans"):
        several = value if isinstance(value, list) else [value]
        return [
            Choice(o.value, o.title, key, o.value in several, o.help)
            for o, key in zip(question.options, _keys(question.options), strict=True)
        ]
    if question.type == "boolean":
        return [
            Choice("true", "Yes", "1", value is True),
            Choice("false", "No", "2", value is False),
        ]
    if question.type == "rating":
        low, high = int(question.low or 0), int(question.high or 10)
        ten = "0" if low else ""
        return [
            Choice(str(n), str(n), str(n) if n < 10 else ten, n == value)
            for n in range(low, high + 1)
        ]
    if question.type == "pairwise" and len(layout) == 2:
        left, right = ("a", "b") if layout[0] == 0 else ("b", "a")
        return [
            Choice(left, "A is better", "a", value == left),
            Choice(right, "B is better", "b", value == right),
            Choice("tie", "Equally good", "t", value == "tie"),
            Choice("both_bad", "Both are bad", "x", value == "both_bad"),
        ]
    return []


def _keys(options: Sequence[Option]) -> list[str]:
    """Each option's key: its own, else the first figure that none has; "" for none left."""
    taken = {option.key for option in options}
    free = (str(n) for n in (*range(1, 10), 0) if str(n) not in taken)
    return [option.key or next(free, "") for option in options]


def _ranks(question: Question, value: Any, layout: Sequence[int]) -> list[Rank]:
    if question.type != "ranking":
        return []
    given = {place: str(n + 1) for n, tier in enumerate(value or []) for place in tier}
    return [
        Rank(f"{name_of(question)}-{place}", letter, given.get(place, ""))
        for place, letter in letters(layout).items()
    ]


def _shown(question: Question, value: Any, original: str) -> str:
    if question.type == "correction":
        return original if value is None else str(value)
    if question.type == "spans":
        return json.dumps(value or [])
    if value is None or isinstance(value, (list, bool)):
        return ""
    return f"{value:.15g}" if isinstance(value, float) else str(value)
