# SPDX-License-Identifier: Apache-2.0
"""Tables made into batch files, and batch files that name another model."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from jobs.jsonl import parse_object, read_lines
from jobs.rewriting import Rewrite
from jobs.tables import KINDS, Row, Table, TableError, kind_of, read_table
from jobs.templating import Ids, RowError, Template, encoded, request_line

from .problems import Problem

# As long as a line of a batch file may be, where the site's setting is as it comes.
LINE_BYTES = 16_000_000
# Enough to see what is wrong; the count says how often.
SHOWN_ERRORS = 10


@dataclass(frozen=True, slots=True)
class Source:
    """A table and how it is read; `kind` "" is what its name ends in."""

    path: Path
    kind: str = ""
    delimiter: str = ""


def convert(source: Source, template: Template, out: IO[bytes]) -> int:
    """Write a request line for each row; how many. Problem with all that is wrong."""
    kind = source.kind or kind_of(source.path.name)
    if not kind:
        known = ", ".join(KINDS)
        raise Problem(
            f"{source.path} is no table that its name tells ({known}): use --format."
        )
    try:
        with opened(source.path) as stream:
            table = read_table(stream, kind, delimiter=source.delimiter)
            _check_columns(table, template)
            return _write_rows(table, template, out, source.path)
    except TableError as error:
        raise Problem(f"{source.path}: {error}") from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, or stdin for `-`; Problem when it cannot be read."""
    try:
        if str(path) == "-":
            yield sys.stdin.buffer
            return
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}.") from error


def _check_columns(table: Table, template: Template) -> None:
    """All columns must be there before the first row is looked at."""
    if table.columns and (missing := template.missing(table.columns)):
        lacked = ", ".join(repr(name) for name in missing)
        there = ", ".join(repr(name) for name in table.columns)
        raise TableError(
            f"The template names {lacked}, and the file has the columns {there}."
            " Write {{ and }} for braces that are no placeholder."
        )


def _write_rows(table: Table, template: Template, out: IO[bytes], path: Path) -> int:
    wrong: list[str] = []
    count, number = 0, 0
    ids = Ids()
    for number, row in enumerate(table.rows, start=1):
        try:
            data = _line(row, template, number, ids)
        except RowError as error:
            count += 1
            if len(wrong) < SHOWN_ERRORS:
                wrong.append(f"line {row.line}: {error}")
            continue
        if not count:
            out.write(data)
    if count:
        more = f"\n… and {count - len(wrong):,} more." if count > len(wrong) else ""
        listed = "\n".join(wrong)
        raise Problem(
            f"{path}: {count:,} of {number:,} rows cannot be used:\n{listed}{more}"
        )
    if not number:
        raise TableError("There are no rows.")
    return number


def _line(row: Row, template: Template, number: int, ids: Ids) -> bytes:
    if row.problem:
        # Mostly the quotes or the delimiter are wrong: what follows is noise.
        raise TableError(f"line {row.line}: {row.problem}")
    line = request_line(row.cells, template, number=number)
    data = encoded(line)
    if len(data) > LINE_BYTES:
        raise RowError(f"The request is longer than {LINE_BYTES:,} bytes.")
    custom_id = line["custom_id"]
    if first := ids.earlier(custom_id, row.line):
        raise RowError(f"The custom_id '{custom_id}' is that of line {first}, too.")
    return data


def write_lines(path: Path, out: IO[bytes], change: Callable[[str], str]) -> None:
    """Copy a batch file with each request changed; blank lines keep their numbers."""
    with opened(path) as stream:
        last = 0
        for line in read_lines(stream, limit=LINE_BYTES):
            if line.data is None:
                raise Problem(f"{path}: line {line.number} is too long.")
            out.write(b"\n" * (line.number - last - 1))
            last = line.number
            try:
                data = change(line.data.decode()).encode()
            except (ValueError, RecursionError):
                # The site says what is wrong with it, beside all other bad lines.
                data = line.data
            out.write(data + b"\n")


def with_model(model: str) -> Callable[[str], str]:
    """Sets the model of a request line and leaves all else as it was written."""
    rewrite = Rewrite({"model": model})

    def change(text: str) -> str:
        at = parse_object(text)["body"][1]
        body = rewrite.apply(text[at.start : at.end])
        return f"{text[: at.start]}{body}{text[at.end :]}"

    return change


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A file for what is made on the way; it goes at the end."""
    with tempfile.TemporaryDirectory(prefix="batchsite-") as made:
        yield Path(made) / "requests.jsonl"
