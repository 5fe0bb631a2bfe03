# SPDX-License-Identifier: Apache-2.0
"""Each parameter of a check: `read(param, value)` gives it back or says what is wrong.

`param` is the field as the caller knows it, such as `batchsite.checks[0].params.most`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from jobs.jsonl import quoted
from jobs.refusals import Refused

from .languages import LANGUAGES
from .patterns import PATTERN_LENGTH, BadPattern, Pattern

Read = Callable[[str, Any], Any]
TEXT_LENGTH = 10_000
TITLE_LENGTH = 100
PHRASES_MOST = 50
PHRASE_LENGTH = 200
LARGEST = 100_000_000
SCHEMA_CHARACTERS = 20_000
UNITS = ("characters", "words")


def bad(param: str, why: str, code: str = "invalid_value") -> Refused:
    """The parameter is refused; `why` is a sentence."""
    return Refused(f"Invalid '{param}': {why}", param=param, code=code)


def string(param: str, value: Any, longest: int) -> str:
    """A string of 1 to `longest` characters."""
    if not isinstance(value, str):
        raise bad(param, "expected a string.", "invalid_type")
    if not value:
        raise bad(param, "the string is empty.", "empty_string")
    if len(value) > longest:
        why = f"the string has {len(value):,} characters, {longest:,} are allowed."
        raise bad(param, why, "string_above_max_length")
    return value


def title(param: str, value: Any) -> str:
    """A name of 1 to 100 printable characters."""
    name = string(param, value, TITLE_LENGTH).strip()
    if not name or not name.isprintable():
        raise bad(param, "use printable characters.")
    return name


def strings(param: str, value: Any, *, most: int, longest: int) -> list[str]:
    """1 to `most` such strings, each once."""
    if not isinstance(value, list):
        raise bad(param, "expected an array of strings.", "invalid_type")
    if not value:
        raise bad(param, "the array is empty.", "empty_array")
    if len(value) > most:
        why = f"the array has {len(value):,} entries, {most:,} are allowed."
        raise bad(param, why, "array_above_max_length")
    found = [string(f"{param}[{n}]", one, longest) for n, one in enumerate(value)]
    return list(dict.fromkeys(found))


def choice(param: str, value: Any, allowed: Iterable[str]) -> str:
    """One of these strings."""
    values = sorted(allowed)
    if not isinstance(value, str):
        raise bad(param, "expected a string.", "invalid_type")
    if value not in values:
        known = ", ".join(f"'{one}'" for one in values)
        raise bad(param, f"'{quoted(value, 50)}' is none of {known}.")
    return value


def flag(param: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise bad(param, "expected a boolean.", "invalid_type")
    return value


def whole(param: str, value: Any) -> int:
    """An integer from 0."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad(param, "expected an integer.", "invalid_type")
    if not 0 <= value <= LARGEST:
        raise bad(param, f"expected 0 to {LARGEST:,}.")
    return value


def text(param: str, value: Any) -> str:
    """A text to look for."""
    return string(param, value, TEXT_LENGTH)


def unit(param: str, value: Any) -> str:
    """What a length is counted in."""
    return choice(param, value, UNITS)


def languages(param: str, value: Any) -> list[str]:
    """Codes of languages that can be told apart."""
    codes = strings(param, value, most=len(LANGUAGES), longest=3)
    return [choice(f"{param}[{n}]", code, LANGUAGES) for n, code in enumerate(codes)]


def phrases(param: str, value: Any) -> list[str]:
    """Further beginnings of a refusal."""
    return strings(param, value, most=PHRASES_MOST, longest=PHRASE_LENGTH)


def pattern(param: str, value: Any) -> str:
    """A regular expression that RE2 takes."""
    given = string(param, value, PATTERN_LENGTH)
    try:
        Pattern(given)
    except BadPattern as error:
        why = f"no pattern that can be used: {quoted(str(error))} (RE2: no lookaround, no backreferences)."
        raise bad(param, why) from None
    return given


def schema(param: str, value: Any) -> Any:
    """A JSON schema that stands alone."""
    try:
        length = len(json.dumps(value, allow_nan=False))
    except (RecursionError, ValueError):
        raise bad(param, "it cannot be written as JSON.") from None
    if length > SCHEMA_CHARACTERS:
        why = (
            f"the schema has {length:,} characters, {SCHEMA_CHARACTERS:,} are allowed."
        )
        raise bad(param, why)
    from .schemas import BadSchema, Schema

    try:
        Schema(value)
    except BadSchema as error:
        raise bad(param, f"{quoted(str(error))}.") from None
    return value
