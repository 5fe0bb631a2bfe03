# SPDX-License-Identifier: Apache-2.0
"""Tables that people have: CSV, TSV and Parquet, read row by row in bounded memory."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from .jsonl import BOM

SUFFIXES = (".csv", ".tsv", ".parquet")
DELIMITERS = ",;\t|"
# Of one line of text, and of one row, which may go over several lines.
LINE_BYTES = 4_000_000
ROW_BYTES = 16_000_000
COLUMNS_MOST = 1000
# Parquet is unpacked group by group.
GROUP_BYTES = 512_000_000
ROWS_AT_ONCE = 200
NO_PARQUET = (
    "This site cannot read Parquet files: its “parquet” extra (pyarrow) is not installed."
    " Save the table as CSV, or ask whoever runs the site."
)
NOT_UTF_8 = (
    "is not UTF-8 text. Save the table once more with the encoding UTF-8: in Excel as"
    " “CSV UTF-8”, in LibreOffice with the character set “Unicode (UTF-8)”."
)


class TableError(ValueError):
    """The file is no table that can be read; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row by its number as a spreadsheet shows it: 1 is the heading.

    `problem` says why its cells do not fit the columns; "" if they do.
    """

    number: int
    cells: dict[str, str]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The columns, and the rows as they are read; reading may raise TableError."""

    columns: Sequence[str]
    rows: Iterator[Row]


def is_table(filename: str) -> bool:
    """Whether the file's name is that of a table."""
    return filename.lower().endswith(SUFFIXES)


def read_table(stream: IO[bytes], filename: str) -> Table:
    """The table in an open file, by its name's ending; TableError."""
    if filename.lower().endswith(".parquet"):
        return _parquet(stream)
    return _text(stream, tabs=filename.lower().endswith(".tsv"))


def _text(stream: IO[bytes], *, tabs: bool) -> Table:
    start = stream.read(4)
    stream.seek(0)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise TableError(f"This file is UTF-16: it {NOT_UTF_8}")
    lines = _Lines(stream)
    first = next(lines, "")
    if not first.strip():
        raise TableError("The file is empty: it needs a first line with the columns.")
    delimiter = "\t" if tabs else _delimiter(first)
    csv.field_size_limit(LINE_BYTES)
    reader = csv.reader(_put_back(first, lines), delimiter=delimiter, strict=True)
    heading = next(_records(reader, lines))[1]
    columns = _named(heading)
    return Table(columns, _rows(columns, _records(reader, lines, after=1)))


def _delimiter(heading: str) -> str:
    """The separator that the heading has most often outside of quotes."""
    bare = "".join(heading.split('"')[::2])
    counts = Counter({sign: bare.count(sign) for sign in DELIMITERS})
    return counts.most_common(1)[0][0]


def _put_back(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


class _Lines:
    """The lines of a file as text, of which none and no row is longer than it may be."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.number = 0
        self.of_row = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        data = self._stream.readline(LINE_BYTES + 1)
        if not data:
            raise StopIteration
        self.number += 1
        self.of_row += len(data)
        if len(data) > LINE_BYTES or self.of_row > ROW_BYTES:
            raise TableError(
                f"The row at line {self.number:,} is too long. Perhaps a quotation mark"
                " is not closed."
            )
        if self.number == 1:
            data = data.removeprefix(BOM)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise TableError(f"Line {self.number:,} {NOT_UTF_8}") from error


def _records(
    reader: Iterator[list[str]], lines: _Lines, *, after: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, with their numbers."""
    number = after
    while True:
        lines.of_row = 0
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise TableError(
                f"Line {lines.number:,} is no row of a table: {error}."
            ) from error
        if cells is None:
            return
        number += 1
        if any(cell.strip() for cell in cells):
            yield number, cells


def _named(heading: Sequence[str]) -> list[str]:
    """The names of the columns; TableError where they cannot be told apart."""
    if len(heading) > COLUMNS_MOST:
        raise TableError(f"The table has more than {COLUMNS_MOST:,} columns.")
    names = [
        name.strip() or f"column {place}" for place, name in enumerate(heading, start=1)
    ]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TableError(
            f"Two columns are called “{twice[0][:100]}”. Give each its own name in the"
            " first line."
        )
    return names


def _rows(
    columns: Sequence[str], records: Iterator[tuple[int, list[str]]]
) -> Iterator[Row]:
    for number, cells in records:
        problem = ""
        if len(cells) > len(columns):
            problem = f"It has {len(cells)} cells, and the heading has {len(columns)}."
        padded = [*cells, *[""] * (len(columns) - len(cells))]
        yield Row(number, dict(zip(columns, padded, strict=False)), problem)


def _parquet(stream: IO[bytes]) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise TableError(NO_PARQUET) from error
    try:
        file = parquet.ParquetFile(stream)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise TableError("The file is no Parquet file, or a part of one.") from error
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    if any(group.total_byte_size > GROUP_BYTES for group in groups):
        raise TableError(
            "A row group of the file is larger than 512 MB. Write it with smaller ones,"
            " for example row_group_size=10_000."
        )
    columns = _named(file.schema_arrow.names)

    def rows() -> Iterator[Row]:
        number = 1
        try:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for values in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                    number += 1
                    cells = map(_cell, values)
                    yield Row(number, dict(zip(columns, cells, strict=True)))
        except (pyarrow.ArrowException, OSError) as error:
            raise TableError(f"The file is damaged after row {number:,}.") from error

    return Table(columns, rows())


def _cell(value: Any) -> str:
    """A value of a Parquet file as text; lists and structures as JSON."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
