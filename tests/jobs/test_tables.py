# SPDX-License-Identifier: Apache-2.0
"""Reading CSV, TSV, Parquet and JSON Lines."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import datetime
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from jobs import tables
from jobs.tables import Row, TableError, is_table, kind_of, read_table
from jobs.templating import as_text

TEXT = st.text(st.characters(codec="utf-8"))


def read(
    data: bytes, name: str = "a.csv", **options: str
) -> tuple[list[str], list[Row]]:
    table = read_table(io.BytesIO(data), kind_of(name), **options)
    return list(table.columns), list(table.rows)


def as_parquet(columns: dict[str, Any], **options: Any) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"id,text\n1,one\n", "a.csv"),
        (b"\xef\xbb\xbfid,text\r\n1,one\r\n", "A.CSV"),
        (b"id;text\n1;one", "a.csv"),
        (b"id|text\n1|one", "a.csv"),
        (b"id\ttext\n1\tone\n", "a.csv"),
        (b'"a,b,c";text\n1;one', "a.csv"),
        (b"id\ttext\n1\tone\n", "a.tsv"),
        (as_parquet({"id": ["1"], "text": ["one"]}), "a.parquet"),
    ],
)
def test_the_same_table_in_each_form(data: bytes, name: str) -> None:
    columns, (row,) = read(data, name)
    assert columns == list(row.cells) == [columns[0], "text"]
    assert (row.number, list(row.cells.values())) == (2, ["1", "one"])


def test_a_delimiter_can_be_named() -> None:
    assert read(b"a^b,\n1^2,\n", delimiter="^")[1] == [
        Row(2, 2, {"a": "1", "b,": "2,"})
    ]
    assert read(b"a;b\n1;2\n", "a.tsv", delimiter=";")[0] == ["a", "b"]


def test_rows_have_a_spreadsheets_numbers_and_an_editors_lines() -> None:
    _, rows = read(b'a,b\r\n"two\r\nlines",2\r\n\r\n,\r\nlast,"a ""b"""\r\n')

    assert [(row.number, row.line) for row in rows] == [(2, 2), (5, 6)]
    assert rows[0].cells == {"a": "two\r\nlines", "b": "2"}
    assert rows[1].cells == {"a": "last", "b": 'a "b"'}


def test_short_and_long_rows() -> None:
    _, rows = read(b"a,b\n1\n1,2,3\n4,5\n")

    assert rows[0] == Row(2, 2, {"a": "1", "b": ""})
    # The others are read all the same: who shows problems shows them all.
    assert rows[1].problem == "It has 3 cells, and the heading has 2."
    assert rows[2] == Row(4, 4, {"a": "4", "b": "5"})


def test_columns_without_a_name_get_one() -> None:
    assert read(b"a,, c \n")[0] == ["a", "column 2", "c"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b",,\n", "first line must have the names"),
        (b",,\n1,2,3\n", "first line must have the names"),
        (b"a,b,a\n", "Two columns are called “a”"),
        ("a\nü\n".encode("latin-1"), "Line 2 is not UTF-8 text.*CSV UTF-8"),
        ("ü,b\n".encode("latin-1"), "Line 1 is not UTF-8"),
        ("a,b\n".encode("utf-16"), "UTF-16.*CSV UTF-8"),
        (b'a\n"x"y\n', "Line 2 is no row of a table.*quotation mark"),
        (b'a,b\n1,2\n3,"never\nclosed\n', "Line 3 is no row of a table"),
        (b'"a\n1\n', "Line 1 is no row of a table"),
        (b"a\n" + b"x" * (tables.LINE_BYTES + 1), "line 2 is too long"),
        (b'a\n"' + b"x\n" * (tables.LINE_BYTES // 2 + 1), "Line 2 is no row"),
        (b",".join(b"%d" % n for n in range(1001)) + b"\n", "more than 1,000 columns"),
    ],
)
def test_what_is_no_table_says_what_to_do(data: bytes, words: str) -> None:
    with pytest.raises(TableError, match=words):
        read(data)


def test_a_row_over_many_lines_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_BYTES", 1000)
    fields = b",".join(b'"' + b"x\n" * 300 + b'"' for _ in range(8))
    with pytest.raises(TableError, match=r"row at line 2 is too long.*quotation mark"):
        read(b"a\n" + fields)


def test_a_quote_that_is_never_closed_is_not_read_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "LINE_BYTES", 100)
    stream = io.BytesIO(b'a\n"' + b"x\n" * 1000)
    with pytest.raises(TableError, match="Line 2 is no row"):
        list(read_table(stream, "csv").rows)
    assert stream.tell() < 300
    # The limit of cells is the process's.
    csv.field_size_limit(131_072)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1))
def test_what_a_spreadsheet_writes_is_read_as_it_was(
    cells: list[tuple[str, str]],
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(["a", "b"])
    writer.writerows(cells)
    found = [row.cells for row in read(out.getvalue().encode())[1]]
    assert found == [{"a": a, "b": b} for a, b in cells if a.strip() or b.strip()]


def test_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b'\xef\xbb\xbf{"a": 1}\n\n{"b": [2]}\n'
    assert read(data, "a.jsonl") == ([], [Row(1, 1, {"a": 1}), Row(3, 3, {"b": [2]})])
    monkeypatch.setattr(tables, "ROW_BYTES", 100)
    for bad, words in (
        (b"\n[1]\n", "Line 2 is no JSON object"),
        (b"{\n", "Line 1 is not JSON"),
        (b"[" * 90, "Line 1 is n"),
        (json.dumps({"a": "x" * 100}).encode(), "line 1 is too long"),
        ('{"a": 1}\n'.encode("utf-16"), "UTF-16"),
    ):
        with pytest.raises(TableError, match=words):
            read(bad, "a.jsonl")


def test_parquet_has_values_of_every_kind() -> None:
    columns = {"id": list(range(1000)), "text": ["é", None] * 500}
    names, rows = read(as_parquet(columns), "a.parquet")

    assert names == ["id", "text"]
    assert [row.line for row in rows] == list(range(1, 1001))
    assert rows[:2] == [
        Row(2, 1, {"id": 0, "text": "é"}),
        Row(3, 2, {"id": 1, "text": None}),
    ]


def test_values_of_parquet_become_text() -> None:
    columns = {"n": [1.5, None], "list": [["a", "ü"], []], "bytes": [b"x", b"\xff"]}
    _, rows = read(as_parquet(columns), "a.parquet")

    texts = [{name: as_text(cell) for name, cell in row.cells.items()} for row in rows]
    assert texts[0] == {"n": "1.5", "list": '["a", "ü"]', "bytes": "x"}
    assert texts[1] == {
        "n": "",
        "list": "[]",
        "bytes": "\N{REPLACEMENT CHARACTER}",
    }


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PAR1 no", b"a,b\n1,2\n", as_parquet({"a": [1]})[:-9]]
)
def test_what_is_no_parquet(data: bytes) -> None:
    with pytest.raises(TableError, match="no Parquet file"):
        read(data, "a.parquet")


def test_parquet_with_columns_that_cannot_be_told_apart() -> None:
    out = io.BytesIO()
    twice = pyarrow.Table.from_arrays([pyarrow.array([1])] * 2, names=["a", "a"])
    parquet.write_table(twice, out)
    with pytest.raises(TableError, match="Two columns are called “a”"):
        read(out.getvalue(), "a.parquet")


def test_large_row_groups_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "GROUP_BYTES", 10)
    with pytest.raises(TableError, match="row_group_size"):
        read(as_parquet({"a": ["x" * 100]}), "a.parquet")


def test_parquet_that_is_damaged_or_cannot_be_values_says_where() -> None:
    # Not repeating, so that the pages hold what they say.
    data = as_parquet({"a": [f"value {n}" for n in range(1000)]}, compression="gzip")
    damaged = data[:100] + bytes(200) + data[300:]
    with pytest.raises(TableError, match="cannot be read after row 1: "):
        read(damaged, "a.parquet")
    for array in (
        pyarrow.array([b"\xff"]).view(pyarrow.utf8()),
        pyarrow.array([2**62], pyarrow.timestamp("us")),
    ):
        with pytest.raises(TableError, match="cannot be read after row 1: "):
            read(as_parquet({"a": array}), "a.parquet")


def test_times_of_parquet_are_values() -> None:
    moment = datetime(2026, 5, 1, 12, 30)  # noqa: DTZ001  # Parquet's own may have no zone
    _, (row,) = read(as_parquet({"at": [moment]}), "a.parquet")
    assert as_text(row.cells["at"]) == "2026-05-01 12:30:00"


def test_parquet_needs_a_file_that_can_be_read_from_its_end() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(TableError, match="from a pipe"):
        read_table(Pipe(as_parquet({"a": [1]})), "parquet")


def test_text_may_come_through_a_pipe() -> None:
    class Pipe(io.BytesIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            raise io.UnsupportedOperation("seek")

    rows = read_table(Pipe(b"a\n1\n"), "csv").rows
    assert [row.cells for row in rows] == [{"a": "1"}]


def test_without_pyarrow_parquet_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = as_parquet({"a": [1]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TableError, match=r"“parquet” extra.*pip install pyarrow"):
        read(data, "a.parquet")


def test_kinds_go_by_the_end_of_the_name() -> None:
    names = ("a.CSV", "b.parquet", "c.tsv", "d.jsonl", "e.xlsx", "csv")
    assert [kind_of(name) for name in names] == [
        *("csv", "parquet", "tsv", "jsonl", "", "")
    ]
    # The site takes JSON Lines as batch files.
    assert [is_table(name) for name in names] == [True, True, True, False, False, False]
