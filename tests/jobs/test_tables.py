# SPDX-License-Identifier: Apache-2.0
"""Reading CSV, TSV and Parquet."""

from __future__ import annotations

import io
import sys
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from jobs import tables
from jobs.tables import Row, TableError, read_table


def read(data: bytes, name: str = "a.csv") -> tuple[list[str], list[Row]]:
    table = read_table(io.BytesIO(data), name)
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
        (b"id\ttext\n1\tone\n", "a.tsv"),
        (as_parquet({"id": [1], "text": ["one"]}), "a.parquet"),
    ],
)
def test_the_same_table_in_each_form(data: bytes, name: str) -> None:
    assert read(data, name) == (
        ["id", "text"],
        [Row(2, {"id": "1", "text": "one"})],
    )


def test_rows_have_a_spreadsheets_numbers() -> None:
    _, rows = read(b'a,b\n"two\nlines",2\n\n,\nlast,3\n')

    assert [row.number for row in rows] == [2, 5]
    assert rows[0].cells == {"a": "two\nlines", "b": "2"}


def test_short_and_long_rows() -> None:
    _, rows = read(b"a,b\n1\n1,2,3\n")

    assert rows[0] == Row(2, {"a": "1", "b": ""})
    assert rows[1].problem == "It has 3 cells, and the heading has 2."


def test_columns_without_a_name_get_one() -> None:
    assert read(b"a,,c\n")[0] == ["a", "column 2", "c"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a,b,a\n", "Two columns are called “a”"),
        ("a\nü\n".encode("latin-1"), "Line 2 is not UTF-8 text.*CSV UTF-8"),
        ("ü,b\n".encode("latin-1"), "Line 1 is not UTF-8"),
        ("a,b\n".encode("utf-16"), "UTF-16.*CSV UTF-8"),
        (b'a\n"x"y\n', "Line 2 is no row of a table"),
        (b"a\n" + b"x" * (tables.LINE_BYTES + 1), "line 2 is too long"),
        (b'a\n"' + b"x\n" * (tables.LINE_BYTES // 2 + 1), "Line .* is no row"),
        (b",".join(b"%d" % n for n in range(1001)) + b"\n", "more than 1,000 columns"),
    ],
)
def test_what_is_no_table_says_what_to_do(data: bytes, words: str) -> None:
    with pytest.raises(TableError, match=words):
        read(data)


def test_a_row_over_many_lines_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_BYTES", 1000)
    fields = b",".join(b'"' + b"x\n" * 300 + b'"' for _ in range(8))
    with pytest.raises(TableError, match="quotation mark"):
        read(b"a\n" + fields)


def test_values_of_parquet_become_text() -> None:
    columns = {"n": [1.5, None], "list": [["a", "ü"], []], "bytes": [b"x", b"\xff"]}
    _, rows = read(as_parquet(columns), "a.parquet")

    assert rows[0].cells == {"n": "1.5", "list": '["a", "ü"]', "bytes": "x"}
    assert rows[1].cells == {
        "n": "",
        "list": "[]",
        "bytes": "\N{REPLACEMENT CHARACTER}",
    }


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"a,b\n1,2\n", as_parquet({"a": [1]})[:-9]]
)
def test_what_is_no_parquet(data: bytes) -> None:
    with pytest.raises(TableError, match="no Parquet file"):
        read(data, "a.parquet")


def test_large_row_groups_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "GROUP_BYTES", 10)
    with pytest.raises(TableError, match="row_group_size"):
        read(as_parquet({"a": ["x" * 100]}), "a.parquet")


def test_without_pyarrow_the_site_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TableError, match="“parquet” extra"):
        read(as_parquet({"a": [1]}), "a.parquet")
