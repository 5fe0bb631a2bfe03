# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

from batchsite.cli.converting import with_model

from .conftest import Cli

MADE = ("-t", "Say {text}", "-m", "tiny")


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_csv_becomes_request_lines(cli: Cli, home: Path) -> None:
    (home / "m.csv").write_text("id,text\na,hello\nb,é\n")
    (home / "prompt.txt").write_text("Say {text}\n")
    found = lines(cli("convert", "m.csv", *MADE, "--custom-id", "id").ok())
    assert [line["custom_id"] for line in found] == ["a", "b"]
    # From files, too; then the options of the body.
    ended = cli(
        *("convert", "m.csv", "-t", "@prompt.txt", "--system", "Be {id}", "-m", "tiny"),
        *("--max-tokens", "9", "--temperature", "0", "--set", "seed=3"),
        *("--set", "user=ann", "-o", "m.jsonl"),
    )
    assert ended.ok() == ""
    assert "2 requests are in m.jsonl" in ended.err
    assert lines((home / "m.jsonl").read_text())[1]["body"] == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be b"},
            {"role": "user", "content": "Say é"},
        ],
        "max_tokens": 9,
        "temperature": 0,
        "seed": 3,
        "user": "ann",
    }


def test_parquet_json_lines_and_stdin(cli: Cli, home: Path) -> None:
    table = pyarrow.table({"text": ["x", "y"]})
    pyarrow.parquet.write_table(table, home / "t.parquet")
    found = lines(cli("convert", "t.parquet", *MADE).ok())
    given = b'{"text": "x"}\n{"text": "y"}\n'
    piped = cli("convert", "-", "--format", "jsonl", *MADE, stdin=given).ok()
    assert lines(piped) == found
    assert [line["custom_id"] for line in found] == ["row-1", "row-2"]


def test_errors_name_the_line_and_nothing_is_written(cli: Cli, home: Path) -> None:
    (home / "m.csv").write_text("id,text\na,x\na,y\nb,\n" + "c,\n" * 20)
    ended = cli("convert", "m.csv", *MADE, "--custom-id", "id", "-o", "out.jsonl")
    assert (ended.code, ended.out) == (2, "")
    assert "22 of 23 rows cannot be used" in ended.err
    assert "line 3: The custom_id 'a' is that of line 2, too." in ended.err
    assert "line 4: The column 'text' is empty." in ended.err
    assert "… and 12 more" in ended.err
    assert sorted(path.name for path in home.iterdir()) == ["m.csv"]
    assert cli("convert", "m.csv", *MADE, "--custom-id", "id").out == ""


def test_a_row_with_too_many_cells_ends_it_with_its_line(cli: Cli, home: Path) -> None:
    (home / "m.csv").write_text('id,text\n"a\nb",x\nc,x,y\nd,\n')
    ended = cli("convert", "m.csv", *MADE, "-o", "out.jsonl")
    assert ended.code == 2
    assert "line 4: It has 3 cells, and the heading has 2." in ended.err
    assert "rows cannot be used" not in ended.err
    assert not (home / "out.jsonl").exists()


def test_a_table_in_another_encoding_says_how_to_save_it(cli: Cli, home: Path) -> None:
    (home / "m.csv").write_text("text\nx\n", encoding="utf-16")
    (home / "n.csv").write_bytes(b"text\nx\n\xe9\n")
    for name, words in (("m.csv", "is UTF-16"), ("n.csv", "Line 3 is not UTF-8")):
        ended = cli("convert", name, *MADE)
        assert (ended.code, ended.out) == (2, "")
        assert words in " ".join(ended.err.split())
        assert "CSV UTF-8" in ended.err


def test_an_earlier_file_stays_when_the_new_one_has_errors(
    cli: Cli, home: Path
) -> None:
    (home / "m.csv").write_text("text\n''\n")
    (home / "out.jsonl").write_text("earlier")
    (home / "m.csv").write_text('text\n""\n')
    assert cli("convert", "m.csv", *MADE, "-o", "out.jsonl").code == 2
    assert (home / "out.jsonl").read_text() == "earlier"


def test_a_column_that_is_not_there_is_said_with_those_that_are(
    cli: Cli, home: Path
) -> None:
    (home / "m.csv").write_text("id,body\na,x\n")
    ended = cli("convert", "m.csv", *MADE)
    assert ended.code == 2
    assert "names 'text', and the file has the columns 'id', 'body'" in ended.err


def test_unusable_files_and_options_are_usage_errors(cli: Cli, home: Path) -> None:
    (home / "m.csv").write_text("text\nx\n")
    (home / "empty.csv").write_text("text\n")
    (home / "m.xls").write_text("")
    for words, arguments in (
        ("cannot be read: No such file", ("none.csv", *MADE)),
        ("There are no rows", ("empty.csv", *MADE)),
        ("use --format", ("m.xls", *MADE)),
        ("csv, tsv, jsonl or parquet", ("m.csv", *MADE, "--format", "xls")),
        ("one character", ("m.csv", *MADE, "--delimiter", "ab")),
        ("write KEY=VALUE", ("m.csv", *MADE, "--set", "seed")),
        ("must be a number", ("m.csv", *MADE, "--temperature", "inf")),
        ("names no column", ("m.csv", "-t", "Hello", "-m", "tiny")),
        ("cannot be read as text", ("m.csv", "-t", "@none.txt", "-m", "tiny")),
        ("cannot be written", ("m.csv", *MADE, "-o", "no/folder/x.jsonl")),
        ("--template", ("m.csv", "-m", "tiny")),
    ):
        ended = cli("convert", *arguments)
        assert ended.code == 2, ended
        assert words in " ".join(ended.err.split()), ended


def test_another_model_leaves_the_rest_of_a_line_as_it_was() -> None:
    line = '{"custom_id":"a", "body" : {"model":"x","n":1.0,"t":"\\ud800"},"url":"/v1"}'
    changed = with_model("tiny")(line)
    assert json.loads(changed)["body"]["model"] == "tiny"
    assert '"n": 1.0, "t": "\\ud800"' in changed
    assert changed.startswith('{"custom_id":"a", "body" : {')
    assert changed.endswith(',"url":"/v1"}')
