# SPDX-License-Identifier: Apache-2.0
"""B: the batch object, what makes one, and the list."""

from __future__ import annotations

from typing import Any

import pytest

from .proof import proves
from .server import Server, error, jsonl
from .strict import Batch, BatchPage, ok

STATUSES = {
    *("validating", "failed", "in_progress", "finalizing"),
    *("completed", "expired", "cancelling", "cancelled"),
}
TIMES = {
    *("in_progress_at", "expires_at", "finalizing_at", "completed_at"),
    *("failed_at", "expired_at", "cancelling_at", "cancelled_at"),
}
REQUIRED = {
    *("id", "object", "endpoint", "input_file_id"),
    *("completion_window", "status", "created_at"),
}
OPTIONAL = TIMES | {
    *("model", "errors", "output_file_id", "error_file_id"),
    *("request_counts", "usage", "metadata"),
}


@pytest.fixture
def file_id(server: Server) -> str:
    """An input file that fails its batch at once, so that nothing runs."""
    return str(server.upload(b"{}\n")["id"])


@proves("B-01", "E-04")
@pytest.mark.parametrize("field", ["input_file_id", "endpoint", "completion_window"])
def test_a_batch_needs_its_three_fields(
    server: Server, file_id: str, field: str
) -> None:
    answer = server.create(file_id, **{field: None})

    assert error(answer) == (400, field, "missing_required_parameter")
    assert answer.json()["error"]["type"] == "invalid_request_error"
    message = f"Missing required parameter: '{field}'."
    assert answer.json()["error"]["message"] == message


@proves("B-02")
@pytest.mark.parametrize(
    "endpoint",
    ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"],
)
def test_batches_may_be_for_each_endpoint(
    server: Server, file_id: str, endpoint: str
) -> None:
    answer = server.create(file_id, endpoint=endpoint)

    assert answer.status_code == 200
    assert answer.json()["endpoint"] == endpoint


@proves("B-02", "E-01")
@pytest.mark.parametrize(
    "endpoint", ["/v1/invalid/endpoint", "v1/chat/completions", "/"]
)
def test_batches_for_other_endpoints_are_refused(
    server: Server, file_id: str, endpoint: str
) -> None:
    answer = server.create(file_id, endpoint=endpoint)

    assert error(answer) == (400, "endpoint", "invalid_value")
    words = answer.json()["error"]["message"]
    assert words.startswith(f"Invalid endpoint: {endpoint}")
    assert "Supported values" in words
    assert "/v1/chat/completions" in words


@proves("B-03", "E-02")
@pytest.mark.parametrize("window", ["1h", "48h", "invalid", "", 24, ["24h"]])
def test_other_completion_windows_are_refused(
    server: Server, file_id: str, window: Any
) -> None:
    answer = server.create(file_id, completion_window=window)

    assert error(answer)[:2] == (400, "completion_window")


@proves("B-04")
@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {f"{n}": "" for n in range(16)},
        {"k" * 64: "v" * 512},
        {"ä": "\U0001f600"},
    ],
    ids=["empty", "16", "long", "unicode"],
)
def test_metadata_within_bounds_comes_back(
    server: Server, file_id: str, metadata: dict[str, str]
) -> None:
    _, batch = ok(Batch, server.create(file_id, metadata=metadata))

    assert batch["metadata"] == metadata
    assert server.batch(batch["id"])["metadata"] == metadata


@proves("B-04")
def test_metadata_may_be_null(server: Server, file_id: str) -> None:
    body = {
        "input_file_id": file_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": None,
    }

    _, batch = ok(Batch, server.post("/batches", body))

    assert batch["metadata"] is None


@proves("B-04", "E-03")
@pytest.mark.parametrize(
    ("metadata", "param"),
    [
        ({f"{n}": "" for n in range(17)}, "metadata"),
        ({"k" * 65: "v"}, f"metadata.{'k' * 65}"),
        ({"k": "v" * 513}, "metadata.k"),
        ({"k": 1}, "metadata.k"),
        ({"k": None}, "metadata.k"),
        ([], "metadata"),
        ("x", "metadata"),
    ],
    ids=["17", "key", "value", "number", "null", "list", "text"],
)
def test_metadata_out_of_bounds_is_refused(
    server: Server, file_id: str, metadata: Any, param: str
) -> None:
    assert error(server.create(file_id, metadata=metadata))[:2] == (400, param)


@proves("B-05")
@pytest.mark.parametrize(
    ("life", "param"),
    [
        ({"anchor": "created_at"}, "seconds"),
        ({"seconds": 3600}, "anchor"),
        ({"anchor": "now", "seconds": 3600}, "anchor"),
        ({"anchor": "created_at", "seconds": 3599}, "seconds"),
        ({"anchor": "created_at", "seconds": 2_592_001}, "seconds"),
        ({"anchor": "created_at", "seconds": 1.5e4}, "seconds"),
        ({"anchor": "created_at", "seconds": True}, "seconds"),
    ],
    ids=str,
)
def test_a_bad_life_of_the_output_is_refused(
    server: Server, file_id: str, life: dict[str, Any], param: str
) -> None:
    answer = server.create(file_id, output_expires_after=life)

    assert error(answer)[:2] == (400, f"output_expires_after.{param}")


@proves("B-06", "B-07", "B-08", "B-09", "B-10", "B-11", "B-12")
def test_a_new_batch_object_is_whole(server: Server) -> None:
    file_id = server.upload(server.requests(1))["id"]

    _, batch = ok(Batch, server.create(file_id))

    assert set(batch) >= REQUIRED | OPTIONAL
    assert batch["object"] == "batch"
    assert batch["input_file_id"] == file_id
    assert batch["completion_window"] == "24h"
    assert batch["status"] == "validating"
    assert batch["expires_at"] == batch["created_at"] + 86_400
    unset = OPTIONAL - {"expires_at", "request_counts", "model"}
    assert {name: batch[name] for name in unset} == dict.fromkeys(unset)
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    server.wait(batch)


@proves("B-06", "B-08", "B-09", "B-11", "B-12", "B-14", "B-15", "B-21", "F-03")
def test_a_completed_batch_object_is_whole(server: Server) -> None:
    done = server.run(server.requests(3), metadata={"for": "a test"})

    _, batch = ok(Batch, server.http.get(f"/batches/{done['id']}"))

    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
    assert batch["model"] == server.model
    assert batch["errors"] is None
    assert batch["error_file_id"] is None
    assert batch["metadata"] == {"for": "a test"}
    unset = {"failed_at", "expired_at", "cancelling_at", "cancelled_at"}
    assert {name for name in TIMES if batch[name] is None} == unset
    assert all(type(batch[name]) is int for name in TIMES - unset)
    times = [
        batch[f"{n}_at"] for n in ("created", "in_progress", "finalizing", "completed")
    ]
    assert times == sorted(times)
    usage = batch["usage"]
    assert set(usage) == {
        *("input_tokens", "input_tokens_details", "output_tokens"),
        *("output_tokens_details", "total_tokens"),
    }
    assert type(usage["input_tokens_details"]["cached_tokens"]) is int
    assert type(usage["output_tokens_details"]["reasoning_tokens"]) is int
    assert usage["input_tokens"] > 0
    assert usage["output_tokens"] > 0
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    output = server.http.get(f"/files/{batch['output_file_id']}").json()
    assert output["purpose"] == "batch_output"


@proves("B-11")
def test_a_batch_has_no_status_but_openais(server: Server) -> None:
    batch = server.submit(server.requests(20))
    seen = [batch["status"]]
    while seen[-1] not in ("completed", "failed"):
        seen.append(server.batch(batch["id"])["status"])

    assert set(seen) <= STATUSES
    assert seen[-1] == "completed"


@proves("B-13")
def test_a_failed_batch_lists_its_errors(server: Server) -> None:
    good = server.request("good")
    failed = server.run(jsonl(good, b"nonsense", good | {"custom_id": 5}))

    _, batch = ok(Batch, server.http.get(f"/batches/{failed['id']}"))

    assert batch["status"] == "failed"
    assert batch["failed_at"] >= batch["created_at"]
    assert batch["errors"]["object"] == "list"
    assert [set(entry) for entry in batch["errors"]["data"]] == [
        {"code", "message", "param", "line"}
    ] * 2
    assert [entry["line"] for entry in batch["errors"]["data"]] == [2, 3]
    assert batch["output_file_id"] is batch["error_file_id"] is None
    # Nothing of a file with a bad line runs.
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert batch["in_progress_at"] is None


@proves("B-16", "B-17", "B-06")
def test_the_batch_list_is_newest_first_and_20_long(
    server: Server, file_id: str
) -> None:
    made = [server.create(file_id).json()["id"] for _ in range(21)]

    _, page = ok(BatchPage, server.http.get("/batches"))

    assert [batch["id"] for batch in page["data"]] == made[:0:-1]
    assert page["object"] == "list"
    assert page["has_more"] is True
    assert (page["first_id"], page["last_id"]) == (made[-1], made[1])
    longest = server.http.get("/batches", params={"limit": 100}).json()["data"]
    assert [batch["id"] for batch in longest[:21]] == made[::-1]


@proves("B-16")
@pytest.mark.parametrize(
    "params",
    [{"limit": 0}, {"limit": 101}, {"limit": ""}, {"after": "nobody"}],
    ids=str,
)
def test_the_batch_list_refuses_bad_parameters(
    server: Server, params: dict[str, str]
) -> None:
    told = error(server.http.get("/batches", params=params))

    assert told[:2] == (400, next(iter(params)))


@proves("B-17")
def test_an_empty_batch_list_is_whole(server: Server, file_id: str) -> None:
    server.create(file_id)
    page = {"has_more": True, "last_id": None}
    while page["has_more"]:
        params = {"limit": 100, "after": page["last_id"] or ""}
        page = server.http.get("/batches", params=params).json()

    _, empty = ok(
        BatchPage, server.http.get("/batches", params={"after": page["last_id"]})
    )

    assert empty == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }
