# SPDX-License-Identifier: Apache-2.0
"""Tables as people have them: CSV, TSV, JSON Lines and Parquet, row by row.

Without Django, and in memory that does not grow with the file. What is wrong is said
with the number of the line, for people who look it up in their editor.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Any

from .jsonl import BOM

KINDS = {".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".jsonl": "jsonl"}
# As long as a line of a batch file may be.
LINE_BYTES = 16_000_000
ROWS_AT_ONCE = 256
NO_PYARROW = (
    "Parquet files need the package pyarrow, which is not installed."
    " Install it with: pip install pyarrow"
)


class TableError(ValueError):
    """What is wrong with a table; `line` is 1-based, None for the file as a whole."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Row:
    """A row and where it begins: its line, in Parquet files its number."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` is None where each row has its own; `rows` can be read once."""

    columns: list[str] | None
    rows: Iterator[Row]


def kind_of(name: str) -> str | None:
    """csv, tsv, parquet or jsonl by the end of a file's name; None for others."""
    return KINDS.get(PurePath(name).suffix.lower())


def read_table(stream: IO[bytes], kind: str, *, delimiter: str = "") -> Table:
    """The table in the stream; TableError at once or while its rows are read.

    Without `delimiter` a CSV file's own is taken from its first line: a comma where
    there is one, else a semicolon or a tab. Parquet needs a stream that can seek.
    """
    match kind:
        case "jsonl":
            return Table(None, _json_rows(stream))
        case "parquet":
            return _parquet(stream)
    return _csv(stream, delimiter or ("\t" if kind == "tsv" else ""))


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """The decoded lines, each with its end."""
    number = 0
    while raw := stream.readline(LINE_BYTES + 1):
        number += 1
        if len(raw) > LINE_BYTES:
            raise TableError(f"longer than {LINE_BYTES:,} bytes", number)
        if number == 1:
            raw = raw.removeprefix(BOM)
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            raise TableError(
                "not UTF-8. Save the file as UTF-8 (Excel: CSV UTF-8) and try again.",
                number,
            ) from error


def _csv(stream: IO[bytes], delimiter: str) -> Table:
    lines = _lines(stream)
    first = next(lines, "")
    if not delimiter:
        delimiter = next((char for char in ",;\t" if char in first), ",")

    def again() -> Iterator[str]:
        yield first
        yield from lines

    csv.field_size_limit(LINE_BYTES)
    reader = csv.reader(again(), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise TableError(str(error), 1) from error
    if not any(header):
        raise TableError("the first line must have the names of the columns", 1)
    if twice := next((name for name in header if name and header.count(name) > 1), ""):
        raise TableError(f"two columns are called '{twice}'", 1)
    return Table([name for name in header if name], _csv_rows(reader, header))


def _csv_rows(reader: Any, header: list[str]) -> Iterator[Row]:
    while True:
        begin = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise TableError(f"a quoted cell is broken ({error})", begin) from error
        if not cells:
            continue
        if len(cells) != len(header):
            raise TableError(
                f"{len(cells)} cells, and the first line names {len(header)} columns",
                begin,
            )
        yield Row(
            begin,
            {name: text for name, text in zip(header, cells, strict=True) if name},
        )


def _json_rows(stream: IO[bytes]) -> Iterator[Row]:
    for number, text in enumerate(_lines(stream), start=1):
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TableError("not JSON", number) from error
        if not isinstance(values, dict):
            raise TableError("not a JSON object with a member for each column", number)
        yield Row(number, values)


def _parquet(stream: IO[bytes]) -> Table:
    try:
        # Only who brings such files needs it, and it is large.
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise TableError(NO_PYARROW) from error
    try:
        file = pyarrow.parquet.ParquetFile(stream)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise TableError(f"not a Parquet file ({error})") from error

    def rows() -> Iterator[Row]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
        except (pyarrow.ArrowException, OSError) as error:
            raise TableError(f"unreadable after row {number} ({error})") from error

    return Table(list(file.schema_arrow.names), rows())
