# SPDX-License-Identifier: Apache-2.0
"""E-20 on: what is wrong inside a file shows on a failed batch, with line and field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .proof import proves
from .server import LocalServer, Server, jsonl

UNKNOWN = "file-0000000000000000000000000"


def told(entry: dict[str, Any]) -> tuple[str, str | None, int | None]:
    """Code, param and line of an error."""
    return entry["code"], entry["param"], entry["line"]


@proves("E-20")
def test_an_unknown_input_file_fails_the_batch(server: Server) -> None:
    made = server.create(UNKNOWN)
    assert made.status_code == 200
    assert made.json()["input_file_id"] == UNKNOWN

    batch = server.wait(made.json())

    assert batch["status"] == "failed"
    [entry] = batch["errors"]["data"]
    assert told(entry) == ("invalid_request", "file_id", None)
    assert entry["message"].startswith(f"Cannot find file {UNKNOWN}, or organization ")
    assert entry["message"].endswith("does not have access to it.")


@proves("E-20")
def test_a_deleted_input_file_fails_the_batch(server: Server) -> None:
    file_id = server.upload(server.requests(1))["id"]
    server.http.delete(f"/files/{file_id}")

    batch = server.wait(server.create(file_id).json())

    assert [told(entry) for entry in batch["errors"]["data"]] == [
        ("invalid_request", "file_id", None)
    ]


@proves("E-21", "B-13")
@pytest.mark.parametrize(
    "line",
    [
        b"This is not JSON",
        b'{"custom_id": "a"',
        b"[1]",
        b'"text"',
        b"\xff\xfe",
        b'{"custom_id": NaN}',
        b"[" * 100_000,
    ],
    ids=["text", "open", "list", "string", "bytes", "nan", "deep"],
)
def test_a_line_that_is_no_json_is_named(server: Server, line: bytes) -> None:
    good = server.request("good")

    [entry] = server.errors(jsonl(good, line, good | {"custom_id": "other"}))

    assert told(entry) == ("invalid_json_line", None, 2)
    assert entry["message"] == "This line is not parseable as valid JSON."


@proves("E-22", "L-01")
@pytest.mark.parametrize("key", ["custom_id", "method", "url", "body"])
def test_a_line_without_a_key_is_named(server: Server, key: str) -> None:
    line = server.request("a")
    del line[key]

    [entry] = server.errors(jsonl(line))

    assert told(entry) == ("missing_required_parameter", key, 1)
    assert entry["message"] == f"Missing required parameter: '{key}'."


@proves("E-23", "L-01")
def test_a_line_for_another_endpoint_is_named(server: Server) -> None:
    line = server.request("a") | {"url": "/v1/embeddings"}

    [entry] = server.errors(jsonl(line))

    assert told(entry) == ("invalid_url", "url", 1)
    assert entry["message"] == (
        "The URL provided for this request does not match the batch endpoint."
    )


@proves("E-24", "L-01")
def test_a_custom_id_used_twice_is_named(server: Server) -> None:
    lines = [server.request("a"), server.request("b"), server.request("a", "other")]

    [entry] = server.errors(jsonl(*lines))

    assert told(entry) == ("duplicate_custom_id", "custom_id", 3)
    assert entry["message"] == (
        "The custom_id for this request is a duplicate of another request. The"
        " custom_id parameter must be unique for each request in a batch."
    )


@proves("E-26")
def test_a_model_that_is_not_served_is_named(server: Server) -> None:
    [entry] = server.errors(jsonl(server.request("a", model="not-a-real-model")))

    assert told(entry) == ("model_not_found", "body.model", 1)
    assert entry["message"] == (
        "The provided model 'not-a-real-model' is not supported by the Batch API."
    )


@proves("E-27")
def test_streaming_is_refused_and_fails_the_whole_batch(server: Server) -> None:
    lines = [server.request("a"), server.request("b", stream=True)]

    [entry] = server.errors(jsonl(*lines))

    assert told(entry) == ("streaming_unsupported", "body.stream", 2)
    assert entry["message"] == (
        "Chat Completions: Streaming is not supported in the Batch API."
    )


@proves("E-28")
@pytest.mark.parametrize("field", ["model", "messages"])
def test_a_body_without_what_it_needs_is_named(server: Server, field: str) -> None:
    line = server.request("a")
    del line["body"][field]

    [entry] = server.errors(jsonl(line))

    assert told(entry) == ("invalid_request", f"body.{field}", 1)
    assert entry["message"] == f"{field.capitalize()} parameter is required."


@proves("E-29")
def test_more_queued_tokens_than_the_limit_fail_the_batch(
    local_site: LocalServer,
) -> None:
    site = local_site.site
    site.query("UPDATE accounts_team SET max_queued_tokens = 10 WHERE name = 'Blue'")
    try:
        [entry] = local_site.errors(local_site.requests(50))
    finally:
        site.query(
            "UPDATE accounts_team SET max_queued_tokens = NULL WHERE name = 'Blue'"
        )

    assert told(entry) == ("token_limit_exceeded", None, None)
    assert entry["message"].startswith("Enqueued token limit reached for tiny in ")
    assert "Limit: 10 enqueued tokens." in entry["message"]


@proves("E-30", "L-01")
@pytest.mark.parametrize("method", ["GET", "post", None, 1])
def test_a_method_other_than_post_is_named(server: Server, method: Any) -> None:
    [entry] = server.errors(jsonl(server.request("a") | {"method": method}))

    assert told(entry) == ("invalid_method", "method", 1)


@proves("E-32")
@pytest.mark.parametrize(
    "data", [b"\n\n\r\n  \n", b"\xef\xbb\xbf\n"], ids=["blank", "bom"]
)
def test_a_file_of_blank_lines_fails_the_batch(server: Server, data: bytes) -> None:
    [entry] = server.errors(data)

    assert told(entry) == ("empty_file", None, None)
    assert entry["message"] == (
        "The input file is empty. Please ensure that the batch contains at least one"
        " request."
    )


@proves("E-33")
def test_custom_ids_have_1_to_512_characters(server: Server) -> None:
    longest = "ä" * 512
    batch = server.run(jsonl(server.request("x"), server.request(longest)))
    rows = server.rows(batch["output_file_id"])
    assert {row["custom_id"] for row in rows} == {"x", longest}

    bad: list[Any] = ["", "x" * 513, 5, None, ["a"], "\0", "\ud800"]
    entries = server.errors(jsonl(*(server.request(each) for each in bad)))

    assert [told(entry) for entry in entries] == [
        ("invalid_custom_id", "custom_id", line) for line in range(1, len(bad) + 1)
    ]


@proves("E-34")
def test_a_file_of_another_purpose_fails_the_batch(server: Server) -> None:
    file_id = server.upload(server.requests(1), purpose="user_data")["id"]

    batch = server.wait(server.create(file_id).json())

    assert batch["status"] == "failed"
    [entry] = batch["errors"]["data"]
    assert told(entry) == ("invalid_file_purpose", "file_id", None)


@proves("B-13", "E-21")
def test_each_bad_line_has_one_error_and_all_are_listed(server: Server) -> None:
    lines = [
        {},
        server.request("good"),
        b"x",
        b"",
        server.request("good"),
        server.request("url") | {"url": "/x"},
        server.request("m", model="x", stream=True),
    ]

    entries = server.errors(jsonl(*lines))

    # Lines count from 1, blank ones too.
    assert [(entry["line"], entry["code"]) for entry in entries] == [
        (1, "missing_required_parameter"),
        (3, "invalid_json_line"),
        (5, "duplicate_custom_id"),
        (6, "invalid_url"),
        (7, "model_not_found"),
    ]


@proves("B-13")
def test_a_thousand_bad_lines_are_listed_and_the_rest_reported(
    local_site: LocalServer,
) -> None:
    # How many are listed, and where the others are, is this server's own.
    batch = local_site.run(b"{}\n" + b"{\n" * 1499)

    entries = batch["errors"]["data"]
    assert len(entries) == 1001
    assert told(entries[-1]) == ("more_errors", None, None)
    answer = local_site.http.get(f"/batches/{batch['id']}/validation_errors")
    assert answer.status_code == 200
    report = [json.loads(line) for line in answer.text.splitlines()]
    assert [entry["line"] for entry in report] == list(range(1, 1501))
    assert report[:1000] == entries[:1000]
