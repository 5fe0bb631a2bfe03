# SPDX-License-Identifier: Apache-2.0
"""What is printed: data on stdout, everything said to people on stderr.

Names, messages and answers are other people's text. A terminal would obey the escape
sequences in them, so nothing reaches one but through `printable` or `one_line`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.durations import duration

from .problems import BROKEN_PIPE

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
STYLES = {
    "completed": "green",
    "failed": "red",
    "expired": "yellow",
    "cancelling": "yellow",
    "cancelled": "dim",
}
# What turns the direction of the text behind it.
_turning = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def to_terminal() -> Console:
    """stdout; rich honours NO_COLOR, and writes no colours into pipes."""
    return Console(highlight=False, markup=False, emoji=False)


def to_people() -> Console:
    """stderr."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def say(text: str, style: str = "") -> None:
    """A sentence for people."""
    to_people().print(Text(printable(text), style=style), soft_wrap=True)


def printable(text: object) -> str:
    """Text of strangers that a terminal only shows: line ends and tabs stay."""
    return "".join(
        char if char in "\n\t" or not _acts(char) else REPLACEMENT for char in str(text)
    )


def one_line(text: object) -> str:
    """The same in a single line, for tables and labels."""
    return printable(" ".join(str(text).split()))


def _acts(char: str) -> bool:
    """Controls (C0, C1, DEL), lone surrogates, line separators, turned directions."""
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or bool(
        _turning.match(char)
    )


def write_data(data: bytes) -> None:
    """Bytes to stdout: as they are into a pipe, neutralised on a terminal."""
    if sys.stdout.isatty():
        data = printable(data.decode(errors="replace")).encode(errors="replace")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except BrokenPipeError as error:
        # Python would complain once more when it flushes at its end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from error


def write_line(text: str) -> None:
    """A line to stdout."""
    write_data(f"{text}\n".encode(errors="replace"))


def write_json(found: Any) -> None:
    """JSON for machines; ASCII, so that nothing in it acts on a terminal."""
    write_line(json.dumps(found, indent=2))


def write_table(head: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """A table on a terminal; in a pipe a line each, with tabs and without the head."""
    console = to_terminal()
    if not console.is_terminal:
        for row in rows:
            write_line("\t".join(one_line(cell) for cell in row))
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for number, name in enumerate(head):
        # The first column is what people copy.
        whole = number == 0
        table.add_column(name, no_wrap=True, overflow="fold" if whole else "ellipsis")
    for row in rows:
        table.add_row(
            *(cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in row)
        )
    console.print(table)


def status_word(batch: dict[str, Any]) -> str:
    """The status as the site's pages call it."""
    status = str(batch.get("status"))
    if status == "in_progress":
        return "paused" if ours(batch).get("paused") else "running"
    return one_line(status)


def status_text(batch: dict[str, Any]) -> Text:
    """The status in its colour."""
    return Text(status_word(batch), style=STYLES.get(str(batch.get("status")), "blue"))


def ours(batch: dict[str, Any]) -> dict[str, Any]:
    """Batchsite's own fields; empty on a server that is another one."""
    found = batch.get("batchsite")
    return found if isinstance(found, dict) else {}


def counts(batch: dict[str, Any]) -> tuple[int, int, int]:
    """Answered, failed, and all requests."""
    found = batch.get("request_counts") or {}
    return (
        int(found.get("completed") or 0),
        int(found.get("failed") or 0),
        int(found.get("total") or 0),
    )


def between(low: float, high: float) -> str:
    """A range of time: `12 to 18 min`, or `50 s to 2 min`."""
    first, last = duration(low), duration(high)
    if first == last:
        return first
    amount, _, unit = first.partition(" ")
    if " " not in unit and last.endswith(f" {unit}") and last.count(" ") == 1:
        return f"{amount} to {last}"
    return f"{first} to {last}"


def ago(moment: float | None, now: float) -> str:
    """How long ago, in one unit."""
    if moment is None:
        return ""
    seconds = now - moment
    if seconds < 60:
        return "just now"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    raise AssertionError("a minute is the smallest")
