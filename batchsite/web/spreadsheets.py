# SPDX-License-Identifier: Apache-2.0
"""CSV for people who open it in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

# What makes a spreadsheet take a cell for a formula.
# Source: OWASP, "CSV Injection"; the last four are the wide forms of the first.
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


class _Line:
    """Hands back what csv writes instead of keeping it."""

    def write(self, text: str) -> str:
        return text


def cell(value: object) -> str:
    """The text of a cell; what looks like a formula gets an apostrophe in front."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def lines(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """CSV text line by line, for a streamed answer; rows are read as it is sent.

    It begins with a byte order mark, without which Excel takes UTF-8 for something else.
    """
    writer = csv.writer(_Line())
    yield "\ufeff" + writer.writerow(head)
    for row in rows:
        yield writer.writerow([cell(value) for value in row])
