# SPDX-License-Identifier: Apache-2.0
"""Tables that people have, row by row in bounded memory: CSV, TSV, Parquet, JSON Lines.

Without Django: the site's pages and the command line read them here. Values are as the
file has them; jobs.templating makes text of them.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from .jsonl import BOM

# By the end of a file's name.
KINDS = {".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".jsonl": "jsonl"}
# JSON Lines are a table for who says so: mostly they are a batch file.
SUFFIXES = (".csv", ".tsv", ".parquet")
DELIMITERS = ",;\t|"
# Of one line of CSV, and of one row, which may go over several lines.
LINE_BYTES = 4_000_000
ROW_BYTES = 16_000_000
COLUMNS_MOST = 1000
# Parquet is unpacked group by group.
GROUP_BYTES = 512_000_000
ROWS_AT_ONCE = 200
NO_PARQUET = (
    "Parquet files cannot be read here: pyarrow, the “parquet” extra, is not installed."
    " Save the table as CSV, or have it installed: pip install pyarrow"
)
NOT_UTF_8 = (
    "is not UTF-8 text. Save the table once more with the encoding UTF-8: in Excel as"
    " “CSV UTF-8”, in LibreOffice with the character set “Unicode (UTF-8)”."
)
QUOTES = "Look for a quotation mark that is not closed, or not doubled within a cell."


class TableError(ValueError):
    """The file is no table that can be read; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row by its number as a spreadsheet shows it: 1 is the heading.

    `line` is where it begins in an editor; in Parquet, which has no lines, its place
    among the rows. `problem` says why its cells do not fit the columns; "" if they do.
    """

    number: int
    line: int
    cells: dict[str, Any]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The columns, and the rows as they are read, once; reading may raise TableError.

    JSON Lines have no `columns`: each row has its own.
    """

    columns: Sequence[str]
    rows: Iterator[Row]


def kind_of(filename: str) -> str:
    """csv, tsv, parquet or jsonl by the end of a file's name; "" for others."""
    name = filename.lower()
    return next((kind for end, kind in KINDS.items() if name.endswith(end)), "")


def is_table(filename: str) -> bool:
    """Whether the file's name is that of a table, and not of a batch file."""
    return filename.lower().endswith(SUFFIXES)


def read_table(stream: IO[bytes], kind: str, *, delimiter: str = "") -> Table:
    """The table in an open file; TableError at once or while its rows are read.

    Without `delimiter` that of a CSV file is found in its heading.
    """
    match kind:
        case "jsonl":
            return Table((), _json_rows(stream))
        case "parquet":
            return _parquet(stream)
        case "tsv":
            return _text(stream, delimiter or "\t")
    return _text(stream, delimiter)


def _text(stream: IO[bytes], delimiter: str) -> Table:
    lines = _Lines(stream, LINE_BYTES, QUOTES)
    first = next(lines, "")
    if not first.strip():
        raise TableError("The file is empty: it needs a first line with the columns.")
    csv.field_size_limit(LINE_BYTES)
    reader = csv.reader(
        itertools.chain([first], lines),
        delimiter=delimiter or _delimiter(first),
        strict=True,
    )
    columns = _named(_cells(reader, lines) or [])
    return Table(columns, _rows(columns, reader, lines))


def _delimiter(heading: str) -> str:
    """The separator that the heading has most often outside of quotes."""
    bare = "".join(heading.split('"')[::2])
    counts = Counter({sign: bare.count(sign) for sign in DELIMITERS})
    return counts.most_common(1)[0][0]


class _Lines:
    """The lines of a file as text, of which none and no row is longer than it may be."""

    def __init__(self, stream: IO[bytes], longest: int, advice: str = "") -> None:
        self._stream = stream
        self._longest = longest
        self._advice = advice
        self._of_row = 0
        self.number = 0
        self.begin = 1

    def __iter__(self) -> _Lines:
        return self

    def next_row(self) -> None:
        """What comes now is another row; it begins with the next line."""
        self._of_row = 0
        self.begin = self.number + 1

    def __next__(self) -> str:
        data = self._stream.readline(self._longest + 1)
        if not data:
            raise StopIteration
        self.number += 1
        self._of_row += len(data)
        if len(data) > self._longest or self._of_row > ROW_BYTES:
            raise TableError(
                f"The row at line {self.begin:,} is too long: {ROW_BYTES:,} bytes are"
                f" allowed, {self._longest:,} in a line. {self._advice}".rstrip()
            )
        if self.number == 1:
            if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise TableError(f"This file is UTF-16: it {NOT_UTF_8}")
            data = data.removeprefix(BOM)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise TableError(f"Line {self.number:,} {NOT_UTF_8}") from error


def _cells(reader: Iterator[list[str]], lines: _Lines) -> list[str] | None:
    """The next row's; None at the end."""
    try:
        return next(reader, None)
    except csv.Error as error:
        raise TableError(
            f"Line {lines.begin:,} is no row of a table: {error}. {QUOTES}"
        ) from error


def _named(heading: Sequence[str]) -> list[str]:
    """The names of the columns; TableError where they cannot be told apart."""
    if len(heading) > COLUMNS_MOST:
        raise TableError(f"The table has more than {COLUMNS_MOST:,} columns.")
    given = [name.strip() for name in heading]
    if not any(given):
        raise TableError("The first line must have the names of the columns.")
    names = [name or f"column {place}" for place, name in enumerate(given, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TableError(
            f"Two columns are called “{twice[0][:100]}”. Give each its own name in the"
            " first line."
        )
    return names


def _rows(
    columns: Sequence[str], reader: Iterator[list[str]], lines: _Lines
) -> Iterator[Row]:
    """The rows that are not blank; what a row has too few cells of is empty."""
    for number in itertools.count(2):
        lines.next_row()
        cells = _cells(reader, lines)
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        problem = ""
        if len(cells) > len(columns):
            problem = f"It has {len(cells)} cells, and the heading has {len(columns)}."
        padded = itertools.chain(cells, itertools.repeat(""))
        named = dict(zip(columns, padded, strict=False))
        yield Row(number, lines.begin, named, problem)


def _json_rows(stream: IO[bytes]) -> Iterator[Row]:
    lines = _Lines(stream, ROW_BYTES)
    for text in lines:
        line = lines.number
        lines.next_row()
        if not text.strip():
            continue
        try:
            cells = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TableError(f"Line {line:,} is not JSON.") from error
        if not isinstance(cells, dict):
            raise TableError(
                f"Line {line:,} is no JSON object with a member for each column."
            )
        yield Row(line, line, cells)


def _parquet(stream: IO[bytes]) -> Table:
    try:
        # Only who brings such files needs it, and it is large.
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise TableError(NO_PARQUET) from error
    if not stream.seekable():
        raise TableError("Parquet cannot be read from a pipe: name a file.")
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
    return Table(columns, _parquet_rows(columns, file))


def _parquet_rows(columns: Sequence[str], file: Any) -> Iterator[Row]:
    place = 0
    try:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            for values in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                place += 1
                yield Row(place + 1, place, dict(zip(columns, values, strict=True)))
    # Arrow's own are among these; so is what Python has no value for.
    except (OSError, ValueError, ArithmeticError, LookupError, TypeError) as error:
        raise TableError(
            f"The file cannot be read after row {place + 1:,}: {str(error)[:200]}"
        ) from error
