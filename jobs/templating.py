# SPDX-License-Identifier: Apache-2.0
"""Rows of a table as request lines, by a prompt with {column} placeholders.

Pure: nothing is read or written, and Django is not needed. The command line and the
site's pages make request lines with it, of the rows that jobs.tables reads.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .jsonl import CUSTOM_ID_LENGTH

CHAT = "/v1/chat/completions"
# How each endpoint calls the limit of an answer; None: it has no such limit.
LIMIT_NAMES: dict[str, str | None] = {
    CHAT: "max_tokens",
    "/v1/completions": "max_tokens",
    "/v1/embeddings": None,
    "/v1/responses": "max_output_tokens",
}
# Where a system prompt can go.
WITH_SYSTEM = (CHAT, "/v1/responses")
_token = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class RowError(ValueError):
    """What is wrong with a row; `column` names the cell, None for the row as a whole."""

    def __init__(self, message: str, column: str | None = None) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True, slots=True)
class Template:
    """What is made of each row; ValueError for one that can make nothing.

    `custom_id` is the column with the ids; without one they are row-1, row-2 and so on.
    `body` has more members of the request's body. An empty cell is refused where the
    prompts name it, unless `allow_empty`.
    """

    prompt: str
    model: str
    system: str = ""
    custom_id: str = ""
    endpoint: str = CHAT
    max_tokens: int | None = None
    temperature: float | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    allow_empty: bool = False

    def __post_init__(self) -> None:
        if self.endpoint not in LIMIT_NAMES:
            known = ", ".join(LIMIT_NAMES)
            raise ValueError(f"Templates work with {known}, not {self.endpoint}.")
        if not self.model:
            raise ValueError("The template names no model.")
        if self.system and self.endpoint not in WITH_SYSTEM:
            raise ValueError(f"{self.endpoint} takes no system prompt.")
        if self.max_tokens is not None and LIMIT_NAMES[self.endpoint] is None:
            raise ValueError(f"{self.endpoint} takes no max_tokens.")
        if not placeholders(self.prompt) and not placeholders(self.system):
            raise ValueError(
                "The template names no column, so all requests would be the same:"
                " write the name of a column in braces, as in {text}."
            )

    @property
    def columns(self) -> list[str]:
        """The columns that it needs, each once, in the order in which it names them."""
        named = [*placeholders(self.system), *placeholders(self.prompt)]
        return list(dict.fromkeys(named + [self.custom_id] * bool(self.custom_id)))

    def missing(self, columns: Collection[str]) -> list[str]:
        """Those of its columns that a table with these ones lacks."""
        return [name for name in self.columns if name not in columns]


def placeholders(text: str) -> list[str]:
    """The columns that a prompt names; ValueError for a brace that stands alone."""
    return [name for _, name in _pieces(text) if name is not None]


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    """The prompt as literal text, each piece followed by the column that comes after it.

    Not str.format: its placeholders reach into attributes of what is filled in.
    """
    at, literal = 0, ""
    for found in _token.finditer(text):
        literal += text[at : found.start()]
        at = found.end()
        if found[0] in ("{{", "}}"):
            literal += found[0][0]
        elif found[1] is None:
            raise ValueError(
                f"The template has a single {found[0]} at character {found.start() + 1}:"
                " write {{ and }} for braces that are no placeholder."
            )
        else:
            yield literal, found[1].strip()
            literal = ""
    yield literal + text[at:], None


def render(text: str, row: Mapping[str, object], *, allow_empty: bool = False) -> str:
    """The prompt with the row's cells in it; RowError naming the column it lacks."""
    made = ""
    for literal, name in _pieces(text):
        made += literal
        if name is not None:
            made += cell(row, name, allow_empty=allow_empty)
    return made


def cell(row: Mapping[str, object], name: str, *, allow_empty: bool = False) -> str:
    """A cell as text; RowError where it is missing or empty."""
    if name not in row:
        raise RowError(f"There is no column '{name}'.", name)
    text = as_text(row[name])
    if not allow_empty and not text.strip():
        raise RowError(f"The column '{name}' is empty.", name)
    return text


def as_text(value: object) -> str:
    """A value as it stands in a prompt: JSON for lists and objects, "" for nothing."""
    match value:
        case str():
            return value
        case None:
            return ""
        case float() if math.isnan(value):
            return ""
        case bytes():
            return value.decode(errors="replace")
        case bool() | list() | dict():
            return json.dumps(value, ensure_ascii=False, default=as_text)
    return str(value)


def request_line(
    row: Mapping[str, object], template: Template, *, number: int = 1
) -> dict[str, Any]:
    """The request of one row as a line of a batch file; RowError (a ValueError) if none.

    `number` is the row's, from 1: its id where the template has no column for that.
    """
    body: dict[str, Any] = {"model": template.model, **_asked(row, template)}
    limit = LIMIT_NAMES[template.endpoint]
    if template.max_tokens is not None and limit is not None:
        body[limit] = template.max_tokens
    if template.temperature is not None:
        body["temperature"] = template.temperature
    return {
        "custom_id": _custom_id(row, template.custom_id, number),
        "method": "POST",
        "url": template.endpoint,
        "body": {**body, **template.body},
    }


def _asked(row: Mapping[str, object], template: Template) -> dict[str, Any]:
    """The members of the body that hold the prompts."""
    prompt = render(template.prompt, row, allow_empty=template.allow_empty)
    system = render(template.system, row, allow_empty=template.allow_empty)
    match template.endpoint:
        case "/v1/chat/completions":
            first = [{"role": "system", "content": system}] if system else []
            return {"messages": [*first, {"role": "user", "content": prompt}]}
        case "/v1/completions":
            return {"prompt": prompt}
        case "/v1/responses" if system:
            return {"instructions": system, "input": prompt}
    return {"input": prompt}


def _custom_id(row: Mapping[str, object], column: str, number: int) -> str:
    if not column:
        return f"row-{number}"
    custom_id = cell(row, column)
    if len(custom_id) > CUSTOM_ID_LENGTH or "\0" in custom_id:
        raise RowError(
            f"The column '{column}' is no custom_id: 1 to {CUSTOM_ID_LENGTH} characters"
            " without NUL.",
            column,
        )
    return custom_id


def encoded(line: Mapping[str, Any]) -> bytes:
    """A request line as it stands in a batch file, with its end."""
    try:
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        # Half a character, as JSON's escapes can name it: it stays such an escape.
        return json.dumps(line).encode() + b"\n"


class Ids:
    """The custom_ids of the rows so far; digests, so that a million of them stay small."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}

    def earlier(self, custom_id: str, place: int) -> int | None:
        """The place that had this id before; None for a new one, which is noted."""
        data = custom_id.encode(errors="surrogatepass")
        digest = hashlib.blake2b(data, digest_size=8).digest()
        first = self._places.setdefault(digest, place)
        return None if first == place else first
