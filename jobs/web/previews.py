# SPDX-License-Identifier: Apache-2.0
"""What a result says, in one line of a table."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.models import Result
from jobs.result_search import SHOWN_CHARACTERS, is_failed
from jobs.result_texts import asked_text, seen_text
from jobs.templatetags.figures import printable

from .checks import Marks


@dataclass(frozen=True)
class Row:
    """A result as the table shows it; both texts are plain and short."""

    result: Result
    text: str
    failed: bool
    asked: str = ""
    marks: Marks | None = None


def row(result: Result, marks: Marks | None = None) -> Row:
    """The result with what was asked, its answer or error, and what its checks said."""
    asked = asked_text(result).strip()
    return Row(
        result,
        printable(seen_text(result))[:SHOWN_CHARACTERS],
        is_failed(result),
        printable(asked)[:SHOWN_CHARACTERS],
        marks,
    )
