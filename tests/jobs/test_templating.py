# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.jsonl import ENDPOINTS, Line, parse_line
from jobs.templating import (
    LIMIT_NAMES,
    Ids,
    RowError,
    Template,
    encoded,
    placeholders,
    request_line,
)

CELLS = st.text(max_size=20) | st.integers() | st.floats() | st.none()
NAMES = st.text(st.characters(exclude_characters="{}"), min_size=1).filter(
    lambda name: name == name.strip()
)


def made(row: dict[str, object], **over: Any) -> dict[str, Any]:
    template = Template(**{"prompt": "Say {text}.", "model": "tiny"} | over)
    return request_line(row, template)


def test_a_row_becomes_a_chat_request() -> None:
    line = made(
        {"text": "hello", "id": "mail-7"},
        system="Be brief about {id}.",
        custom_id="id",
        max_tokens=60,
        temperature=0.5,
        body={"seed": 1},
    )
    assert line == {
        "custom_id": "mail-7",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "Be brief about mail-7."},
                {"role": "user", "content": "Say hello."},
            ],
            "max_tokens": 60,
            "temperature": 0.5,
            "seed": 1,
        },
    }


def test_without_a_column_of_ids_rows_are_numbered() -> None:
    template = Template(prompt="{a}", model="m")
    assert request_line({"a": "x"}, template, number=12)["custom_id"] == "row-12"


@pytest.mark.parametrize(
    ("endpoint", "member"),
    [
        ("/v1/completions", {"prompt": "Say x.", "max_tokens": 5}),
        ("/v1/embeddings", {"input": "Say x."}),
        ("/v1/responses", {"input": "Say x.", "max_output_tokens": 5}),
    ],
)
def test_each_endpoint_has_its_own_fields(
    endpoint: str, member: dict[str, object]
) -> None:
    limit = 5 if LIMIT_NAMES[endpoint] else None
    body = made({"text": "x"}, endpoint=endpoint, max_tokens=limit)["body"]
    assert body == {"model": "tiny", **member}
    assert endpoint in ENDPOINTS


def test_responses_take_a_system_prompt_as_instructions() -> None:
    body = made({"text": "x"}, endpoint="/v1/responses", system="Brief.")["body"]
    assert body["instructions"] == "Brief."


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"prompt": "the same for all"}, "names no column"),
        ({"prompt": "{text} {"}, "single { at character 8"),
        ({"prompt": "} {text}"}, "single } at character 1"),
        ({"model": ""}, "names no model"),
        ({"endpoint": "/v1/rerank"}, "not /v1/rerank"),
        ({"endpoint": "/v1/embeddings", "max_tokens": 5}, "takes no max_tokens"),
        ({"endpoint": "/v1/completions", "system": "x"}, "takes no system prompt"),
    ],
)
def test_a_template_that_can_make_nothing_is_refused(
    over: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        made({"text": "x"}, **over)


@pytest.mark.parametrize(
    ("row", "words", "column"),
    [
        ({"other": "x"}, "no column 'text'", "text"),
        ({"text": " "}, "'text' is empty", "text"),
        ({"text": None}, "'text' is empty", "text"),
        ({"text": float("nan")}, "'text' is empty", "text"),
        ({"text": "x", "id": "i" * 513}, "'id' is no custom_id", "id"),
        ({"text": "x", "id": "a\0"}, "'id' is no custom_id", "id"),
        ({"text": "x", "id": ""}, "'id' is empty", "id"),
    ],
)
def test_a_row_that_lacks_something_names_the_column(
    row: dict[str, object], words: str, column: str
) -> None:
    over = {"custom_id": "id"} if "id" in row else {}
    with pytest.raises(RowError, match=words) as caught:
        made(row, **over)
    assert caught.value.column == column


def test_an_empty_cell_may_be_allowed_but_never_as_an_id() -> None:
    line = made({"text": ""}, allow_empty=True)
    assert line["body"]["messages"][0]["content"] == "Say ."
    with pytest.raises(RowError, match="empty"):
        made({"text": ""}, allow_empty=True, custom_id="text")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (2.5, "2.5"),
        ("é".encode(), "é"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        ([b"x"], '["x"]'),
        (True, "true"),
        ([1, "é"], '[1, "é"]'),
        (date(2026, 5, 1), "2026-05-01"),
        ({"d": date(2026, 5, 1)}, '{"d": "2026-05-01"}'),
    ],
)
def test_values_that_are_no_text_are_written_as_text(value: object, text: str) -> None:
    content = made({"text": value})["body"]["messages"][0]["content"]
    assert content == f"Say {text}."


def test_columns_are_those_of_both_prompts_and_the_id() -> None:
    template = Template(prompt="{b} {a}", system="{a}", model="m", custom_id="id")
    assert template.columns == ["a", "b", "id"]
    assert template.missing(["a"]) == ["b", "id"]


def test_a_placeholder_reaches_into_nothing() -> None:
    """str.format would: {text.__class__} is the name of a column here."""
    assert placeholders("{text.__class__} {0} {a!r:>9}") == [
        "text.__class__",
        "0",
        "a!r:>9",
    ]


@given(st.lists(st.tuples(NAMES, st.text())), st.text())
def test_what_stands_in_cells_is_never_read_as_a_template(
    cells: list[tuple[str, str]], end: str
) -> None:
    """Doubled braces come out single, cells exactly as they are."""
    end = end.replace("{", "{{").replace("}", "}}")
    prompt = "{fixed}" + "".join(f"|{{{name}}}" for name, _ in cells) + end
    row: dict[str, object] = {**dict(cells), "fixed": "{fixed}{{"}
    line = made(row, prompt=prompt, allow_empty=True)
    wanted = "{fixed}{{" + "".join(f"|{row[name]}" for name, _ in cells)
    wanted += end.replace("{{", "{").replace("}}", "}")
    assert line["body"]["messages"][0]["content"] == wanted


@given(
    st.dictionaries(NAMES, CELLS, max_size=3),
    st.sampled_from(sorted(LIMIT_NAMES)),
)
def test_whatever_is_made_is_a_good_line(row: dict[str, object], endpoint: str) -> None:
    template = Template(
        prompt="x {" + next(iter(row), "a") + "}", model="m", endpoint=endpoint
    )
    try:
        line = request_line(row, template)
    except RowError:
        return
    data = json.dumps(line).encode()
    _, parsed = parse_line(
        Line(1, 0, data), endpoint=endpoint, models={"m"}, limit=10**6
    )
    assert parsed.custom_id == "row-1"


def test_lines_are_written_as_text_and_half_a_character_as_its_escape() -> None:
    assert encoded({"a": "é"}) == '{"a": "é"}\n'.encode()
    assert encoded({"a": "é\ud800"}) == b'{"a": "\\u00e9\\ud800"}\n'


def test_an_id_is_known_by_the_place_that_had_it_first() -> None:
    ids = Ids()
    assert [ids.earlier(*one) for one in (("a", 2), ("b", 3), ("a", 4), ("a", 5))] == [
        *(None, None, 2, 2)
    ]
    assert ids.earlier("\ud800", 6) is None
