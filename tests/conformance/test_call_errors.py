# SPDX-License-Identifier: Apache-2.0
"""E-01 to E-10: what a call itself answers."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from .proof import proves
from .server import Server, error, message

INVALID = "Invalid file format for Batch API. Must be .jsonl"


@proves("E-01")
def test_the_sdk_raises_bad_request_for_an_unsupported_endpoint(server: Server) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        server.client.batches.create(
            input_file_id="file-x",
            endpoint="/v1/invalid/endpoint",  # type: ignore[arg-type]  # that is the point
            completion_window="24h",
        )

    assert (caught.value.param, caught.value.code) == ("endpoint", "invalid_value")


@proves("E-03")
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["a"], "an array"),
        ({"a": "b"}, "an object"),
        (3, "an integer"),
        (0.5, "a decimal number"),
        (True, "a boolean"),
        (None, "null"),
    ],
    ids=str,
)
def test_a_metadata_value_that_is_no_string_is_named(
    server: Server, value: Any, kind: str
) -> None:
    answer = server.create("file-x", metadata={"tags": value})

    assert error(answer) == (400, "metadata.tags", "invalid_type")
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert message(answer) == (
        f"Invalid type for 'metadata.tags': expected a string, but got {kind} instead."
    )


@proves("E-05")
@pytest.mark.parametrize("name", ["in.txt", "in.json", "jsonl", "in.jsonl.gz"])
def test_a_batch_file_must_be_called_jsonl(server: Server, name: str) -> None:
    answer = server.send(b"{}\n", name=name)

    assert error(answer) == (400, None, None)
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert message(answer) == INVALID


@proves("E-06")
@pytest.mark.parametrize("data", [b"", b"This is not JSON\n", b"{\n{}\n", b"\xff\n"])
def test_an_empty_or_malformed_batch_file_is_refused(
    server: Server, data: bytes
) -> None:
    answer = server.send(data)

    assert error(answer)[0] == 400
    assert "Invalid file format" in message(answer)
    assert "jsonl" in message(answer)


@proves("E-08")
@pytest.mark.parametrize("batch_id", ["batch_" + "0" * 32, "batch-not-found", "ä"])
def test_an_unknown_batch_is_not_found(server: Server, batch_id: str) -> None:
    for answer in (
        server.http.get(f"/batches/{batch_id}"),
        server.post(f"/batches/{batch_id}/cancel"),
    ):
        assert error(answer)[0] == 404
        assert message(answer) == f"No batch found with id '{batch_id}'"
    with pytest.raises(openai.NotFoundError):
        server.client.batches.retrieve(batch_id)


@proves("E-09")
@pytest.mark.parametrize("file_id", ["file-" + "0" * 24, "nothing"])
def test_an_unknown_file_is_not_found(server: Server, file_id: str) -> None:
    for answer in (
        server.http.get(f"/files/{file_id}"),
        server.http.get(f"/files/{file_id}/content"),
        server.http.delete(f"/files/{file_id}"),
    ):
        assert error(answer) == (404, "id", None)
        assert message(answer) == f"No such File object: {file_id}"
        assert answer.json()["error"]["type"] == "invalid_request_error"
