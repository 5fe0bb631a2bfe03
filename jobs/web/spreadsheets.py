# SPDX-License-Identifier: Apache-2.0
"""CSV for people who open it in a spreadsheet."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator

# What makes a spreadsheet take a cell for a formula; and what begins a cell or a row
# inside of ours where it splits at semicolons or tabs, and overlooks our quotes.
# Source: OWASP, "CSV Injection"; the last four are the wide forms of the first.
FORMULA = "=+\\-@\uff1d\uff0b\uff0d\uff20"
FIRST = re.compile(f'^(?=[ "]*[{FORMULA}]|[\t\r\n])')
INNER = re.compile(f'([;\t\r\n][ "]*)(?=[{FORMULA}])')


class _Line:
    """Hands back what csv writes instead of keeping it."""

    def write(self, text: str) -> str:
        return text


def cell(value: object) -> str:
    """The text of a cell; what looks like a formula gets an apostrophe in front."""
    text = "" if value is None else str(value)
    return FIRST.sub("'", INNER.sub(r"\1'", text))


def lines(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """CSV text line by line, for a streamed answer; rows are read as it is sent.

    It begins with a byte order mark, without which Excel takes UTF-8 for something else.
    """
    writer = csv.writer(_Line(), quoting=csv.QUOTE_ALL)
    yield "\ufeff" + writer.writerow(head)
    for row in rows:
        yield writer.writerow([cell(value) for value in row])
