# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.jsonl import (
    Line,
    LineError,
    input_count,
    parse_line,
    parse_object,
    read_lines,
)

CHAT = "/v1/chat/completions"
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}


def line(**over: Any) -> bytes:
    """A good chat line with members replaced; None leaves one out."""
    members = {"custom_id": "a", "method": "POST", "url": CHAT, "body": BODY} | over
    return json.dumps({k: v for k, v in members.items() if v is not None}).encode()


def check(data: bytes | None, endpoint: str = CHAT) -> LineError | None:
    """The error of one line, None when it is good."""
    try:
        parse_line(Line(7, 0, data), endpoint=endpoint, models={"tiny"}, limit=1000)
    except LineError as error:
        return error
    return None


def test_a_good_line_keeps_the_body_as_it_was_written() -> None:
    raw = (
        b'{"custom_id": "a" , "method":"POST","url":"/v1/chat/completions",'
        b' "body" : { "model":"tiny","messages":[{"role":"user",  "content":'
        b'"\\u0000 \\ud800 \xc3\xa9"}], "seed": 1.50 } }'
    )
    text, parsed = parse_line(
        Line(1, 0, raw), endpoint=CHAT, models={"tiny"}, limit=1000
    )
    body = text[parsed.body_at.start : parsed.body_at.end]
    assert body.startswith('{ "model":"tiny"')
    assert body.endswith('"\\u0000 \\ud800 é"}], "seed": 1.50 }')
    assert parsed.custom_id == "a"
    assert parsed.model == "tiny"


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [
        (b"not json", "invalid_json_line", None),
        (b"[1]", "invalid_json_line", None),
        (b'{"a": NaN}', "invalid_json_line", None),
        (b'{"a": 1,}', "invalid_json_line", None),
        (b'{"a": 1} x', "invalid_json_line", None),
        (b"\xff\xfe", "invalid_json_line", None),
        (b'{"a":' + b"[" * 100_000, "invalid_json_line", None),
        (b"{}", "missing_required_parameter", "custom_id"),
        (line(method=None), "missing_required_parameter", "method"),
        (line(url=None), "missing_required_parameter", "url"),
        (line(body=None), "missing_required_parameter", "body"),
        (line(custom_id=5), "invalid_custom_id", "custom_id"),
        (line(custom_id=""), "invalid_custom_id", "custom_id"),
        (line(custom_id="x" * 513), "invalid_custom_id", "custom_id"),
        (line(custom_id="a\0b"), "invalid_custom_id", "custom_id"),
        (line(custom_id="\ud800"), "invalid_custom_id", "custom_id"),
        (line(method="GET"), "invalid_method", "method"),
        (line(url="/v1/embeddings"), "invalid_url", "url"),
        (line(body=[]), "invalid_request", "body"),
        (line(body={"messages": []}), "invalid_request", "body.model"),
        (line(body={**BODY, "model": "other"}), "model_not_found", "body.model"),
        (line(body={"model": "tiny"}), "invalid_request", "body.messages"),
        (line(body={**BODY, "stream": True}), "streaming_unsupported", "body.stream"),
        (None, "line_too_long", None),
    ],
)
def test_each_bad_line_names_code_field_and_line(
    data: bytes | None, code: str, param: str | None
) -> None:
    error = check(data)
    assert error is not None
    assert (error.code, error.param, error.line) == (code, param, 7)
    assert error.message


def test_a_custom_id_of_512_characters_is_fine() -> None:
    assert check(line(custom_id="é" * 512)) is None


def test_other_endpoints_need_their_own_field() -> None:
    url = "/v1/embeddings"
    error = check(line(url=url, body={"model": "tiny"}), url)
    assert error is not None
    assert error.param == "body.input"
    assert check(line(url=url, body={"model": "tiny", "input": "x"}), url) is None


def test_line_numbers_are_those_of_the_file() -> None:
    data = b"\xef\xbb\xbf{}\r\n\r\n   \n{}\r\n{}"
    lines = list(read_lines(io.BytesIO(data), limit=100))
    assert [(found.number, found.data) for found in lines] == [
        (1, b"{}"),
        (4, b"{}"),
        (5, b"{}"),
    ]
    for found in lines:
        assert data[found.offset : found.offset + 2] == b"{}"


def test_a_line_over_the_limit_is_reported_without_being_held() -> None:
    data = b"x" * 3_000_000 + b"\n" + b"ok\n" + b"y" * 10 + b"\n" + b"z" * 11
    lines = list(read_lines(io.BytesIO(data), limit=10))
    assert [(found.number, found.data) for found in lines] == [
        (1, None),
        (2, b"ok"),
        (3, b"y" * 10),
        (4, None),
    ]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(), json_values, max_size=6),
    st.booleans(),
    st.sampled_from([None, 2]),
)
def test_parse_object_agrees_with_the_json_module(
    value: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    members = parse_object(text)
    assert {key: found for key, (found, _) in members.items()} == value
    for found, at in members.values():
        assert json.loads(text[at.start : at.end]) == found


@given(st.text(max_size=40))
def test_parse_object_never_fails_otherwise_than_by_value_error(text: str) -> None:
    try:
        members = parse_object(text)
    except ValueError:
        return
    assert {key: found for key, (found, _) in members.items()} == json.loads(text)


@pytest.mark.parametrize(
    ("endpoint", "body", "missing"),
    [
        ("/v1/completions", {}, "prompt"),
        ("/v1/completions", {"prompt": "a"}, None),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"messages": [{"role": "user", "content": "a"}]}, None),
        ("/v1/responses", {"input": ""}, "input"),
        ("/v1/score", {}, "text_1"),
        ("/v1/score", {"text_1": "a"}, "text_2"),
        ("/v1/score", {"text_1": "a", "text_2": ["b"]}, None),
        ("/v1/score", {"queries": "a"}, "documents"),
        ("/v1/score", {"queries": "a", "items": ["b"]}, None),
        ("/v1/score", {"data_2": "a"}, "data_1"),
        ("/v1/rerank", {"documents": ["a"]}, "query"),
        ("/v1/rerank", {"query": "a"}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": ["b"]}, None),
    ],
)
def test_what_an_endpoint_cannot_do_without_is_named(
    endpoint: str, body: dict[str, Any], missing: str | None
) -> None:
    error = check(line(url=endpoint, body={"model": "tiny", **body}), endpoint)
    if missing is None:
        assert error is None
    else:
        assert error is not None
        assert (error.code, error.param) == ("invalid_request", f"body.{missing}")
        assert error.message == f"{missing.capitalize()} parameter is required."


def test_embedding_inputs_are_texts_or_lists_of_tokens() -> None:
    assert input_count({"input": "a"}) == 1
    assert input_count({"input": ["a", "b", "c"]}) == 3
    assert input_count({"input": [1, 2, 3]}) == 1
    assert input_count({"input": [[1, 2], [3]]}) == 2
    assert input_count({"messages": []}) == 1
