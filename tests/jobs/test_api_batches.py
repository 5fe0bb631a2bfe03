# SPDX-License-Identifier: Apache-2.0
"""/v1/batches (conformance B-01 to B-19, E-01 to E-04, E-08, E-10, T-06)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from openai.types import Batch as OpenAIBatch
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from jobs.models import Batch
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import api_client, error_of

GOOD = {
    "input_file_id": "file-none",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
}
TIMES = [
    f"{status}_at"
    for status in (
        [
            "in_progress",
            "finalizing",
            "completed",
            "failed",
            "expired",
            "cancelling",
            "cancelled",
        ]
    )
]


def create(api: APIClient, **over: Any) -> Any:
    body = {key: value for key, value in (GOOD | over).items() if value is not ...}
    return api.post("/v1/batches", body, format="json")


def test_create_answers_the_whole_batch_object(
    api: APIClient, make_file: MakeFile
) -> None:
    file = make_file()
    r = create(api, input_file_id=file.public_id, metadata={"run": "7"})
    batch = Batch.objects.get()
    created = int(batch.created_at.timestamp())
    assert r.status_code == 200
    assert r.json() == {
        "id": batch.public_id,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": None,
        "errors": None,
        "input_file_id": file.public_id,
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": created,
        "expires_at": created + 86_400,
        **dict.fromkeys(TIMES),
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "usage": None,
        "metadata": {"run": "7"},
        "batchsite": {
            "name": "",
            "tags": [],
            "priority": 0,
            "paused": False,
            "dedupe": True,
            "output_order": "input",
            "allow_mixed_models": False,
            "webhook_url": None,
            "parent_id": None,
            "derivation": None,
            "result_seq": 0,
            "queue": {
                "position": 1,
                "expected_start": None,
                "blocked_reason": "no control worker is running",
            },
            "eta": None,
            "stalled_since": None,
            "deadline_at_risk": False,
            "checks": [],
        },
    }
    assert OpenAIBatch.model_validate(r.json(), strict=True).id == batch.public_id
    assert batch.owner is not None


@pytest.mark.parametrize(
    "endpoint",
    [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/score",
        "/v1/rerank",
    ],
)
def test_every_endpoint_of_the_engines_is_taken(api: APIClient, endpoint: str) -> None:
    r = create(api, endpoint=endpoint, metadata=None, output_expires_after=None)
    assert r.status_code == 200
    assert r.json()["metadata"] is None


def test_an_unknown_input_file_shows_on_the_batch_later(api: APIClient) -> None:
    r = create(api, input_file_id="file-does-not-exist")
    assert r.status_code == 200
    assert r.json()["input_file_id"] == "file-does-not-exist"
    assert r.json()["status"] == "validating"


LIFE = {"anchor": "created_at", "seconds": 3600}


@pytest.mark.parametrize(
    ("over", "param", "code"),
    [
        ({"input_file_id": ...}, "input_file_id", "missing_required_parameter"),
        ({"endpoint": ...}, "endpoint", "missing_required_parameter"),
        ({"completion_window": ...}, "completion_window", "missing_required_parameter"),
        ({"input_file_id": None}, "input_file_id", "invalid_type"),
        ({"input_file_id": 7}, "input_file_id", "invalid_type"),
        ({"input_file_id": ""}, "input_file_id", "empty_string"),
        ({"input_file_id": "x" * 101}, "input_file_id", "string_above_max_length"),
        ({"endpoint": "/v1/invalid"}, "endpoint", "invalid_value"),
        ({"endpoint": "/v1/images/edits"}, "endpoint", "invalid_value"),
        ({"completion_window": "48h"}, "completion_window", "invalid_value"),
        ({"completion_window": ""}, "completion_window", "empty_string"),
        ({"completion_window": 24}, "completion_window", "invalid_type"),
        ({"priority": 1}, "priority", "unknown_parameter"),
        ({"metadata": []}, "metadata", "invalid_type"),
        ({"metadata": {"tags": ["a"]}}, "metadata.tags", "invalid_type"),
        ({"metadata": {"n": 1}}, "metadata.n", "invalid_type"),
        (
            {"metadata": {str(n): "" for n in range(17)}},
            "metadata",
            "object_above_max_properties",
        ),
        (
            {"metadata": {"k" * 65: ""}},
            f"metadata.{'k' * 65}",
            "string_above_max_length",
        ),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "string_above_max_length"),
        ({"output_expires_after": 3600}, "output_expires_after", "invalid_type"),
        (
            {"output_expires_after": {"seconds": 3600}},
            "output_expires_after.anchor",
            "missing_required_parameter",
        ),
        (
            {"output_expires_after": LIFE | {"anchor": "completed_at"}},
            "output_expires_after.anchor",
            "invalid_value",
        ),
        (
            {"output_expires_after": LIFE | {"seconds": 2_592_001}},
            "output_expires_after.seconds",
            "integer_above_max_value",
        ),
        (
            {"output_expires_after": LIFE | {"seconds": True}},
            "output_expires_after.seconds",
            "invalid_type",
        ),
        (
            {"output_expires_after": LIFE | {"x": 1}},
            "output_expires_after.x",
            "unknown_parameter",
        ),
    ],
)
def test_a_wrong_parameter_is_named(
    api: APIClient, over: dict[str, Any], param: str, code: str
) -> None:
    assert error_of(create(api, **over)) == (400, param, code)
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"input_file_id": ...}, "Missing required parameter: 'input_file_id'."),
        (
            {"metadata": {"tags": ["a"]}},
            "Invalid type for 'metadata.tags': expected a string, but got an array"
            " instead.",
        ),
        (
            {"completion_window": "1h"},
            "Invalid value: '1h'. Supported values are: '24h'.",
        ),
        (
            {"endpoint": "/v1/x"},
            "Invalid endpoint: /v1/x. Supported values: /v1/chat/completions,"
            " /v1/completions, /v1/embeddings, /v1/responses, /v1/score, /v1/rerank.",
        ),
    ],
)
def test_messages_are_openais(
    api: APIClient, over: dict[str, Any], message: str
) -> None:
    assert create(api, **over).json()["error"]["message"] == message


def test_the_limits_of_metadata_and_life_are_inside(api: APIClient) -> None:
    metadata = {f"{n:02d}{'k' * 62}": "v" * 512 for n in range(16)}
    r = create(api, metadata=metadata, output_expires_after=LIFE)
    assert r.json()["metadata"] == metadata
    assert Batch.objects.get().output_expires_after == 3600


def test_a_finished_batch_tells_counts_usage_and_files(
    api: APIClient, make_batch: MakeBatch, make_file: MakeFile
) -> None:
    moment = datetime(2026, 5, 4, 3, 2, 1, 999_999, tzinfo=UTC)
    output, errors = (make_file(purpose="batch_output") for _ in range(2))
    batch = make_batch(
        status="completed",
        created_at=moment,
        completed=3,
        failed=1,
        model="tiny",
        input_tokens=10,
        cached_tokens=4,
        output_tokens=20,
        reasoning_tokens=5,
        output_file=output,
        error_file=errors,
    )
    r = api.get(f"/v1/batches/{batch.public_id}").json()
    OpenAIBatch.model_validate(r, strict=True)
    # times are whole seconds, rounded down
    assert r["created_at"] == r["completed_at"] == 1777863721
    assert r["model"] == "tiny"
    assert r["request_counts"] == {"total": 4, "completed": 3, "failed": 1}
    assert r["output_file_id"] == output.public_id
    assert r["error_file_id"] == errors.public_id
    assert r["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 30,
    }


def test_a_failed_batch_lists_its_errors(api: APIClient, make_batch: MakeBatch) -> None:
    bad_line = {"code": "invalid_url", "message": "No.", "param": "url", "line": 3}
    errors = {"object": "list", "data": [bad_line]}
    batch = make_batch(status="failed", errors=errors)
    r = api.get(f"/v1/batches/{batch.public_id}").json()
    parsed = OpenAIBatch.model_validate(r, strict=True)
    assert r["errors"] == errors
    assert parsed.errors is not None
    assert parsed.errors.data is not None
    assert parsed.errors.data[0].line == 3
    assert r["failed_at"] is not None
    assert r["usage"] is None


def test_usage_shows_from_the_first_result_on(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = make_batch(status="in_progress", total=9, completed=1, output_tokens=7)
    r = api.get(f"/v1/batches/{batch.public_id}").json()
    assert r["usage"]["total_tokens"] == 7
    assert r["request_counts"] == {"total": 9, "completed": 1, "failed": 0}


@pytest.mark.parametrize("status", ["validating", "in_progress"])
def test_cancel_begins_and_repeats(
    api: APIClient, make_batch: MakeBatch, status: str
) -> None:
    batch = make_batch(status=status)
    for _ in range(2):
        r = api.post(f"/v1/batches/{batch.public_id}/cancel")
        assert r.status_code == 200
        assert OpenAIBatch.model_validate(r.json(), strict=True).status == "cancelling"
    assert batch.events.count() == 1


def test_cancel_of_a_cancelled_batch_shows_it(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = make_batch(status="cancelled")
    r = api.post(f"/v1/batches/{batch.public_id}/cancel", {"a": 1}, format="json")
    assert (r.status_code, r.json()["status"]) == (200, "cancelled")


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "finalizing"])
def test_cancel_that_is_too_late_is_a_conflict_that_nobody_repeats(
    api: APIClient, make_batch: MakeBatch, status: str
) -> None:
    batch = make_batch(status=status)
    r = api.post(f"/v1/batches/{batch.public_id}/cancel")
    assert error_of(r) == (409, None, None)
    assert r["x-should-retry"] == "false"
    message = r.json()["error"]["message"]
    assert message == f"Cannot cancel a batch with status '{status}'."


def test_another_teams_batch_does_not_exist(
    stranger: User, other_team: Team, make_batch: MakeBatch
) -> None:
    api, batch = api_client(stranger, other_team), make_batch(status="in_progress")
    for r in (
        api.get(f"/v1/batches/{batch.public_id}"),
        api.post(f"/v1/batches/{batch.public_id}/cancel"),
    ):
        assert error_of(r) == (404, None, None)
        message = r.json()["error"]["message"]
        assert message == f"No batch found with id '{batch.public_id}'"
    assert api.get("/v1/batches").json()["data"] == []
    after = api.get(f"/v1/batches?after={batch.public_id}")
    assert error_of(after) == (400, "after", "invalid_value")
    batch.refresh_from_db()
    assert batch.status == "in_progress"


def test_a_viewer_may_not_create_or_cancel(
    viewer: User, team: Team, make_batch: MakeBatch
) -> None:
    api, batch = api_client(viewer, team), make_batch(status="in_progress")
    assert api.get(f"/v1/batches/{batch.public_id}").status_code == 200
    denied = (403, None, "insufficient_permissions")
    assert error_of(create(api)) == denied
    assert error_of(api.post(f"/v1/batches/{batch.public_id}/cancel")) == denied


def test_list_is_newest_first_twenty_at_a_time(
    api: APIClient, make_batch: MakeBatch
) -> None:
    file = make_batch().input_file
    ids = [make_batch(input_file=file).public_id for _ in range(21)][::-1]
    first = api.get("/v1/batches").json()
    assert [batch["id"] for batch in first["data"]] == ids[:20]
    assert (first["object"], first["has_more"]) == ("list", True)
    assert (first["first_id"], first["last_id"]) == (ids[0], ids[19])
    for batch in first["data"]:
        OpenAIBatch.model_validate(batch, strict=True)
    rest = api.get(f"/v1/batches?limit=100&after={ids[19]}").json()
    assert rest["first_id"] == ids[20]
    assert (len(rest["data"]), rest["has_more"]) == (2, False)


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ("after=batch_none", "after", "invalid_value"),
        ("after=%00", "after", "invalid_value"),
        ("limit=0", "limit", "integer_below_min_value"),
        ("limit=101", "limit", "integer_above_max_value"),
        ("limit=--1", "limit", "invalid_type"),
        ("limit=%D9%A3", "limit", "invalid_type"),
    ],
)
def test_a_wrong_query_is_named(
    api: APIClient, query: str, param: str, code: str
) -> None:
    assert error_of(api.get(f"/v1/batches?{query}")) == (400, param, code)


def test_list_costs_few_queries(
    api: APIClient,
    make_batch: MakeBatch,
    make_file: MakeFile,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(3):
        make_batch(status="completed", output_file=make_file(), error_file=make_file())
    last = Batch.objects.first()
    assert last is not None
    api.get("/v1/batches")  # notes the key's use
    # the key with its person's role, the cursor, the page
    with django_assert_num_queries(3):
        r = api.get(f"/v1/batches?after={last.public_id}")
    assert len(r.json()["data"]) == 2


def test_what_is_polled_is_the_whole_row(
    team: Team, other_team: Team, make_batch: MakeBatch
) -> None:
    batch = make_batch(metadata={"a": "ü"}, tags=["x"], completed=3, status="completed")
    found = Batch.objects.find_in_team(team, batch.public_id)
    assert found is not None
    for field in Batch._meta.concrete_fields:
        stored = getattr(Batch.objects.get(), field.attname)
        assert getattr(found, field.attname) == stored, field
    assert found.get_deferred_fields() == set()
    assert Batch.objects.find_in_team(other_team, batch.public_id) is None
    assert Batch.objects.find_in_team(team, batch.public_id + "\0") is None
