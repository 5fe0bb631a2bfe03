# SPDX-License-Identifier: Apache-2.0
"""Files of a dataset while they are written: JSON Lines, CSV or Parquet.

Rows go to the disk as they come; a million take the memory of some hundred.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from typing import IO, Any

from jobs.row_checks.parameters import bad
from jobs.web.spreadsheets import cell

Row = Mapping[str, Any]
GROUP_ROWS = 500
NO_PARQUET = (
    "Parquet files cannot be written here: pyarrow, the “parquet” extra, is not"
    " installed."
)


class Part:
    """A file of rows; `rows` and `size` in bytes so far. JSON Lines."""

    ending = "jsonl"

    def __init__(self, spool: IO[bytes]) -> None:
        self.spool = spool
        self.rows = 0
        self.size = 0
        self.sha = hashlib.sha256()

    def write(self, row: Row) -> None:
        """Append a row."""
        try:
            line = json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            # A lone surrogate, as answers end in that were cut off, is said as an escape.
            line = json.dumps(row).encode()
        self.put(line + b"\n")
        self.rows += 1

    def put(self, content: bytes) -> None:
        """Append bytes."""
        self.spool.write(content)
        self.sha.update(content)
        self.size += len(content)

    def close(self) -> None:
        """Write what is still held; to be called once, after the last row."""


class CsvPart(Part):
    """CSV for spreadsheets: what looks like a formula is made a text, lists are JSON."""

    ending = "csv"

    def __init__(self, spool: IO[bytes]) -> None:
        super().__init__(spool)
        self._head: list[str] = []

    def write(self, row: Row) -> None:
        """Append a row; the first one names the columns."""
        if not self._head:
            self._head = list(row)
            # Without the mark Excel takes UTF-8 for something else.
            self._line(self._head, "\ufeff")
        self._line([_flat(row.get(name)) for name in self._head])
        self.rows += 1

    def _line(self, cells: list[str], start: str = "") -> None:
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL).writerow([cell(one) for one in cells])
        self.put((start + text.getvalue()).encode("utf-8", "replace"))


def _flat(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool | int | float):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


class ParquetPart(Part):
    """Parquet as Hugging Face's `datasets` reads it: messages are lists of structs.

    Other objects are JSON text. Refused where pyarrow is not installed.
    """

    ending = "parquet"

    def __init__(self, spool: IO[bytes]) -> None:
        super().__init__(spool)
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise bad("file_format", NO_PARQUET) from None
        self._arrow, self._parquet = pyarrow, parquet
        self._writer: Any = None
        self._held: list[dict[str, Any]] = []

    def write(self, row: Row) -> None:
        """Append a row; rows are written in groups."""
        self._held.append({name: _columnar(value) for name, value in row.items()})
        self.rows += 1
        if len(self._held) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        if self._writer is None:
            schema = self._schema(self._held[0])
            self._writer = self._parquet.ParquetWriter(self.spool, schema)
        table = self._arrow.Table.from_pylist(self._held, schema=self._writer.schema)
        self._writer.write_table(table)
        self._held = []

    def _schema(self, row: Row) -> Any:
        """By the first row: all rows of a format have the same members."""
        arrow = self._arrow
        message = arrow.struct([("role", arrow.string()), ("content", arrow.string())])
        kinds = {bool: arrow.bool_(), int: arrow.float64(), float: arrow.float64()}
        return arrow.schema(
            [
                (
                    name,
                    arrow.list_(message)
                    if isinstance(value, list)
                    else kinds.get(type(value), arrow.string()),
                )
                for name, value in row.items()
            ]
        )

    def close(self) -> None:
        """Write the rows that are held, and the file's end; then take its sum."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
        self.spool.seek(0)
        while content := self.spool.read(1 << 20):
            self.sha.update(content)
            self.size += len(content)


def _columnar(value: Any) -> Any:
    """What a column can hold: messages, a text, a number, or JSON."""
    if isinstance(value, list) and all(_is_message(one) for one in value):
        return [
            {"role": one["role"], "content": _text(one.get("content"))} for one in value
        ]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value)
    return _text(value)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def only_json_keeps(row: Row) -> bool:
    """Whether the row has messages with members that no column of Parquet has."""
    lists = [value for value in row.values() if isinstance(value, list)]
    return any(
        isinstance(one, dict) and not one.keys() <= {"role", "content"}
        for messages in lists
        for one in messages
    )


PARTS: dict[str, type[Part]] = {
    part.ending: part for part in (Part, CsvPart, ParquetPart)
}
