# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import tabular
from jobs.tabular import TableError, kind_of, read_table

TEXT = st.text(st.characters(codec="utf-8"))


def rows(
    data: bytes, kind: str = "csv", **over: Any
) -> list[tuple[int, dict[str, Any]]]:
    table = read_table(io.BytesIO(data), kind, **over)
    return [(row.line, row.values) for row in table.rows]


def test_rows_know_the_line_on_which_they_begin() -> None:
    data = b'\xef\xbb\xbfid,text\r\n1,"two\r\nlines"\r\n\r\n2,"a ""b"""\r\n'
    assert rows(data) == [
        (2, {"id": "1", "text": "two\r\nlines"}),
        (5, {"id": "2", "text": 'a "b"'}),
    ]


@pytest.mark.parametrize(
    ("data", "over"),
    [
        (b"a;b\n1;2\n", {}),
        (b"a\tb\n1\t2\n", {}),
        (b"a\tb\n1\t2\n", {"kind": "tsv"}),
        (b"a|b\n1|2\n", {"delimiter": "|"}),
    ],
)
def test_other_delimiters(data: bytes, over: dict[str, str]) -> None:
    assert rows(data, **over) == [(2, {"a": "1", "b": "2"})]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "line 1: the first line must have the names"),
        (b"a,a\n", "line 1: two columns are called 'a'"),
        (b"a,b\n1\n", "line 2: 1 cells, and the first line names 2"),
        (b"a\nx\n\xff\n", "line 3: not UTF-8. Save the file as UTF-8"),
        (b'a\n"x" y\n', "line 2: a quoted cell is broken"),
        (b'a,b\n1,2\n3,"never\nclosed\n', "line 3: a quoted cell is broken"),
    ],
)
def test_what_is_wrong_names_the_line(data: bytes, words: str) -> None:
    with pytest.raises(TableError, match=words):
        rows(data)


def test_a_quote_that_is_never_closed_is_not_read_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tabular, "LINE_BYTES", 100)
    with pytest.raises(TableError, match="line 2: a quoted cell is broken"):
        rows(b'a\n"' + b"x\n" * 1000)
    with pytest.raises(TableError, match="line 2: longer than 100 bytes"):
        rows(b"a\n" + b"x" * 1000)
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
    found = [values for _, values in rows(out.getvalue().encode())]
    assert found == [{"a": a, "b": b} for a, b in cells]


def test_json_lines() -> None:
    data = b'{"a": 1}\n\n{"b": [2]}\n'
    assert rows(data, "jsonl") == [(1, {"a": 1}), (3, {"b": [2]})]
    for bad, words in ((b"[1]\n", "not a JSON object"), (b"{\n", "line 1: not JSON")):
        with pytest.raises(TableError, match=words):
            rows(bad, "jsonl")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pyarrow.table({"id": list(range(1000)), "text": ["é", None] * 500})
    pyarrow.parquet.write_table(table, path)
    found = rows(path.read_bytes(), "parquet")
    assert len(found) == 1000
    assert found[:2] == [(1, {"id": 0, "text": "é"}), (2, {"id": 1, "text": None})]
    with pytest.raises(TableError, match="not a Parquet file"):
        rows(b"PAR1 no", "parquet")


def test_without_pyarrow_parquet_files_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TableError, match="pip install pyarrow"):
        rows(b"", "parquet")


def test_kinds_go_by_the_end_of_the_name() -> None:
    assert [kind_of(name) for name in ("a.CSV", "b.parquet", "c.xlsx", "d")] == [
        "csv",
        "parquet",
        None,
        None,
    ]
