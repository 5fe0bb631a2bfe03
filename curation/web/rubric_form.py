# SPDX-License-Identifier: Apache-2.0
"""A rubric's questions as a form: one card for each, whose fields are named `q3-title`.

Everything that a card may say is in the form, whatever the question's type; what the
type has no use for is left out when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from curation.questions import KINDS, QUESTIONS_MOST, Question, read
from jobs.refusals import Refused
from jobs.row_checks.parameters import bad

TYPES = {
    "label": "one of several",
    "multi_label": "any of several",
    "rating": "rating",
    "number": "number",
    "boolean": "yes or no",
    "text": "text",
    "correction": "corrected answer",
    "pairwise": "which of two is better",
    "ranking": "order of several answers",
    "spans": "marked parts of the answer",
}
FIELDS = ("key", "type", "title", "help", "options", "min", "max", "goal", "format")
TEXTS = (*FIELDS, "schema")
# Where a refusal is, as `questions[2].options[0].key` says.
PLACE = re.compile(r"questions\[(\d+)\]\.?(\w*)")


@dataclass(slots=True)
class Card:
    """One question as it is typed, whether it is good or not."""

    number: int
    values: dict[str, str] = field(default_factory=dict)
    required: bool = True
    error: str = ""

    @property
    def prefix(self) -> str:
        """What the names of its fields begin with."""
        return f"q{self.number}-"

    @property
    def has_options(self) -> bool:
        """Whether its type has options."""
        return "options" in KINDS[self.type].needs

    @property
    def has_bounds(self) -> bool:
        """Whether its type has a lowest and a highest answer."""
        return "min" in KINDS[self.type].may_have

    @property
    def has_goal(self) -> bool:
        """Whether more of it can be better, or less."""
        return "goal" in KINDS[self.type].may_have

    @property
    def has_format(self) -> bool:
        """Whether its answer can have to be JSON."""
        return "format" in KINDS[self.type].may_have

    @property
    def type(self) -> str:
        """Its type; the first one for what is none."""
        named = self.values.get("type", "")
        return named if named in KINDS else "label"

    def as_json(self) -> dict[str, Any]:
        """As `questions.read` takes it; Refused where a field is no number or no JSON."""
        values = self.values
        found: dict[str, Any] = {
            "key": values.get("key", "").strip() or _key_of(values.get("title", "")),
            "type": self.type,
            "title": values.get("title", ""),
            "required": self.required,
        }
        if values.get("help", "").strip():
            found["help"] = values["help"].replace("\r\n", "\n")
        if self.has_options:
            found["options"] = _options(values.get("options", ""))
        for name in ("min", "max") if self.has_bounds else ():
            if text := values.get(name, "").strip():
                found[name] = _number(f"questions[{self.number}].{name}", text)
        for name in ("goal",) if self.has_goal else ():
            if values.get(name):
                found[name] = values[name]
        if self.has_format and values.get("format") == "json":
            found["format"] = "json"
            if text := values.get("schema", "").strip():
                found["schema"] = _json(f"questions[{self.number}].schema", text)
        return found


def _key_of(title: str) -> str:
    """A key for a question that was given none."""
    words = re.findall(r"[a-z0-9]+", title.lower())
    return "_".join(words)[:40].strip("_").lstrip("0123456789_") or "question"


def _number(param: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise bad(param, "expected a number.") from None
    return int(number) if number.is_integer() else number


def _json(param: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise bad(param, "it is no JSON.") from None


def _options(text: str) -> list[dict[str, str]]:
    """A line for each: `value | title | help | key`, of which the value is enough."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if any(parts):
            names = ("value", "title", "help", "key")
            found.append(
                {name: part for name, part in zip(names, parts, strict=False) if part}
            )
    return found


def cards_of(questions: Sequence[Question]) -> list[Card]:
    """Good questions, to be changed."""
    return [_card(n, question) for n, question in enumerate(questions)]


def _card(number: int, question: Question) -> Card:
    said = question.as_json()
    values = {name: str(said[name]) for name in FIELDS if name in said}
    values["options"] = "\n".join(
        " | ".join(_parts(option.value, option.title, option.help, option.key))
        for option in question.options
    )
    if "schema" in said:
        values["schema"] = json.dumps(said["schema"], indent=2, ensure_ascii=False)
    return Card(number, values, question.required)


def _parts(value: str, title: str, help_: str, key: str) -> list[str]:
    parts = [value, title if title != value or help_ or key else "", help_, key]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def posted(data: QueryDict) -> list[Card]:
    """The cards of a form, in its order; the `act` of a button moves or takes one."""
    count = _count(data.get("count", ""))
    cards = []
    for number in range(count):
        values = {name: data.get(f"q{number}-{name}", "") for name in TEXTS}
        cards.append(Card(number, values, data.get(f"q{number}-required") == "1"))
    return _acted(cards, data.get("act", ""))


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
    return min(number, QUESTIONS_MOST)


def _acted(cards: list[Card], act: str) -> list[Card]:
    verb, _, text = act.partition("-")
    number = _count(text) if text else 0
    if verb == "add" and len(cards) < QUESTIONS_MOST:
        cards.append(Card(len(cards), {"type": "label"}))
    elif number < len(cards):
        if verb == "remove":
            del cards[number]
        elif verb == "up" and number > 0:
            cards[number - 1 : number + 1] = cards[number], cards[number - 1]
        elif verb == "down" and number + 1 < len(cards):
            cards[number : number + 2] = cards[number + 1], cards[number]
    for place, card in enumerate(cards):
        card.number = place
    return cards


def questions_of(cards: Sequence[Card]) -> list[Question]:
    """The questions; Refused, and said at its card, for the first that is not good."""
    try:
        return read("questions", [card.as_json() for card in cards])
    except Refused as refused:
        place = PLACE.match(refused.param or "")
        if place and int(place[1]) < len(cards):
            _, _, why = refused.message.partition("': ")
            named = f"{place[2]}: " if place[2] else ""
            cards[int(place[1])].error = f"{named}{why or refused.message}"
        raise
