# SPDX-License-Identifier: Apache-2.0
"""A prompt with {column} in it, and what becomes of it with a table's row: a request.

Pure: it knows neither Django nor files, so that a program on another machine can use it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

URL = "/v1/chat/completions"
ID_LENGTH = 512
# {{ and }} stand for one brace.
_part = re.compile(r"\{\{|\}\}|\{([^{}]{1,200})\}")


class RowError(ValueError):
    """A row of which no request can be made; `column` is the one that is to blame."""

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True, slots=True)
class Template:
    """How a row is asked: `prompt` and `system` name columns as {column}.

    `id_column` has the custom ids; "": rows are numbered. None is left out of the
    request.
    """

    prompt: str
    model: str
    system: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    id_column: str = ""

    def columns(self) -> list[str]:
        """The columns that it needs, each once, in the order in which it names them."""
        found = [
            match[1].strip()
            for text in (self.system, self.prompt)
            for match in _part.finditer(text)
            if match[1]
        ]
        if self.id_column:
            found.append(self.id_column)
        return list(dict.fromkeys(found))

    def missing(self, columns: Collection[str]) -> list[str]:
        """The columns that it needs and that a table with these columns lacks."""
        return [name for name in self.columns() if name not in columns]


def request_line(
    row: Mapping[str, str], template: Template, *, number: int = 0
) -> dict[str, Any]:
    """The line of a batch file for the row; RowError names the column that is to blame.

    `number` makes the custom id of a row whose table has no column for it.
    """
    messages = []
    if template.system:
        messages.append({"role": "system", "content": filled(template.system, row)})
    messages.append({"role": "user", "content": filled(template.prompt, row)})
    body: dict[str, Any] = {"model": template.model, "messages": messages}
    if template.max_tokens is not None:
        body["max_tokens"] = template.max_tokens
    if template.temperature is not None:
        body["temperature"] = template.temperature
    return {
        "custom_id": _custom_id(row, template, number),
        "method": "POST",
        "url": URL,
        "body": body,
    }


def filled(text: str, row: Mapping[str, str]) -> str:
    """The text with the row's values for its {column}s; RowError for one that is empty."""

    def value(match: re.Match[str]) -> str:
        return _value(row, match[1].strip()) if match[1] else match[0][0]

    return _part.sub(value, text)


def _value(row: Mapping[str, str], column: str) -> str:
    if column not in row:
        raise RowError(f"There is no column “{column}”.", column)
    if not row[column].strip():
        raise RowError(f"The column “{column}” is empty.", column)
    return row[column]


def _custom_id(row: Mapping[str, str], template: Template, number: int) -> str:
    if not template.id_column:
        return f"row-{number}"
    value = _value(row, template.id_column).strip()
    if len(value) > ID_LENGTH or "\0" in value:
        raise RowError(
            f"The column “{template.id_column}” is no custom_id: it must have 1 to"
            f" {ID_LENGTH} characters.",
            template.id_column,
        )
    return value
