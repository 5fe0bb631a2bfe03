# SPDX-License-Identifier: Apache-2.0
"""Lines and files of lines, read directly: every row is kept or has an error."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from jobs.checks import Errors, Rules, check_file
from jobs.jsonl import Line, LineError, parse_line

from .amounts import fuzzed, generated
from .strategies import CHAT, FILES, LINES

LIMIT = 16_000_000
RULES = Rules(CHAT, frozenset({"tiny"}), most=50_000)
BOM = b"\xef\xbb\xbf"


def refuse(name: str) -> Any:
    raise ValueError(name)


def strict_json(data: bytes) -> Any:
    """The value; ValueError or RecursionError when it is not JSON in UTF-8."""
    return json.loads(data.decode(), parse_constant=refuse)


def is_object(data: bytes) -> bool:
    """Whether the bytes are one JSON object."""
    try:
        return isinstance(strict_json(data), dict)
    except ValueError:
        return False


def storable(told: dict[str, Any]) -> bool:
    """Whether every database can hold the error's texts."""
    texts = [value for value in told.values() if isinstance(value, str)]
    return not any(
        letter == "\0" or "\ud800" <= letter <= "\udfff"
        for text in texts
        for letter in text
    )


@fuzzed(5500, data=LINES)
def test_a_line_is_taken_whole_or_refused_by_name(data: bytes) -> None:
    generated["lines"] += 1
    try:
        text, parsed = parse_line(
            Line(7, 0, data), endpoint=CHAT, models={"tiny"}, limit=LIMIT
        )
    except LineError as error:
        told = error.as_dict()
        assert told["line"] == 7
        assert told["code"]
        assert storable(told)
        if told["code"] == "invalid_json_line" and len(data) < 1000:
            assert not is_object(data)
        return
    whole = strict_json(data)
    assert whole["method"] == "POST"
    assert whole["url"] == CHAT
    assert parsed.custom_id == whole["custom_id"]
    assert storable({"custom_id": parsed.custom_id})
    assert parsed.body == whole["body"]
    assert json.loads(text[parsed.body_at.start : parsed.body_at.end]) == parsed.body
    at = parsed.custom_id_at
    assert json.loads(text[at.start : at.end]) == parsed.custom_id


@fuzzed(1000, data=FILES)
def test_a_file_keeps_every_row_or_names_bad_lines(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    generated["files"] += 1
    folder: Path = tmp_path_factory.getbasetemp() / "fuzzed"
    folder.mkdir(exist_ok=True)
    errors = Errors(io.BytesIO())

    plan = check_file(
        io.BytesIO(data), RULES, folder=folder, errors=errors, between=lambda: None
    )

    pieces = data.removeprefix(BOM).split(b"\n")
    numbers = [n for n, piece in enumerate(pieces, start=1) if piece.strip()]
    assert plan.lines == len(numbers)
    named = [told["line"] for told in errors.shown if told["line"] is not None]
    assert set(named) <= set(numbers)
    assert len(named) == len(set(named))
    assert all(map(storable, errors.shown))
    if errors.count:
        return
    assert list(plan.line) == numbers
    for index, number in enumerate(plan.line):
        start = plan.offset[index]
        text = data[start : start + plan.size[index]].decode()
        whole = strict_json(pieces[number - 1].strip())
        assert json.loads(text) == whole
        body = text[plan.body_start[index] : plan.body_end[index]]
        assert json.loads(body) == whole["body"]
    placed = sorted(p for p in plan.order.run_order if p != 0xFFFFFFFF)
    assert placed == list(range(len(placed)))
