# SPDX-License-Identifier: Apache-2.0
"""/v1/openapi.json is valid, whole, and true of real answers; /v1/docs shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern
from drf_spectacular.validation import validate_schema
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from benchmarks.api.urls import benchmark_api_urls
from curation.api.urls import curation_api_urls
from jobs import lifecycle
from jobs.api.schema.document import document, operations
from jobs.api.urls import api_urls
from jobs.models import Batch, ServedModel
from tests.conftest import MakeBatch, MakeFile
from tests.described import check, fits, template_of
from tests.inputs import api_client, chat_lines

CREATE = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


def test_the_document_is_valid() -> None:
    validate_schema(document())  # type: ignore[no-untyped-call]  # spectacular is

    assert document()["openapi"] == "3.1.0"


def test_every_route_is_described_and_no_other() -> None:
    routes = {
        template_of(f"v1/{start}{url.pattern}")
        for start, urls in (
            ("", api_urls),
            ("benchmarks/", benchmark_api_urls),
            ("curation/", curation_api_urls),
        )
        for url in urls
        if isinstance(url, URLPattern) and url.name
    }

    assert set(document()["paths"]) == routes - {"/v1/docs"}
    assert set(document()["paths"]) == set(operations())
    for path, methods in operations().items():
        assert set(document()["paths"][path]) == {name.lower() for name in methods}


def test_operations_have_names_of_their_own_and_all_errors() -> None:
    operations = [
        operation
        for methods in document()["paths"].values()
        for operation in methods.values()
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        assert {"200", "405", "500"} <= set(operation["responses"])
        if operation["security"]:
            assert {"401", "403", "429"} <= set(operation["responses"])
        if "requestBody" in operation:
            assert {"400", "413", "415"} <= set(operation["responses"])


def test_every_named_schema_is_used() -> None:
    text = json.dumps(document())

    for name in document()["components"]["schemas"]:
        used = f'"#/components/schemas/{name}"' in text
        # These two stand in JSONL, which schemas cannot look into.
        assert used or name == "ResultLine"


def test_everybody_may_read_it_and_caches_ask_only_for_news(client: Client) -> None:
    r = client.get("/v1/openapi.json")

    assert r.json() == document()
    assert r["Content-Type"] == "application/json"
    check(r)
    again = client.get("/v1/openapi.json", headers={"If-None-Match": r["ETag"]})
    assert again.status_code == 304
    refused = client.post("/v1/openapi.json")
    assert refused.status_code == 405
    check(refused)


def upload(api: APIClient, **over: Any) -> Any:
    file = BytesIO(chat_lines(2))
    file.name = "in.jsonl"
    return api.post("/v1/files", {"file": file, "purpose": "batch", **over})


def test_answers_on_files_are_as_described(api: APIClient) -> None:
    sent = upload(api)
    file_id = sent.json()["id"]
    answers = [
        sent,
        api.get("/v1/files"),
        api.get("/v1/files?after=nobody"),
        api.get(f"/v1/files/{file_id}"),
        api.get(f"/v1/files/{file_id}/content"),
        api.get("/v1/files/file-none/content"),
        upload(api, purpose="nothing"),
        api.post("/v1/files", {"a": 1}, format="json"),
        api.delete(f"/v1/files/{file_id}"),
        api.get(f"/v1/files/{file_id}"),
        api.patch("/v1/files"),
    ]

    for answer in answers:
        check(answer)
    assert [answer.status_code for answer in answers] == [
        *(200, 200, 400, 200, 200, 404, 400, 415, 200, 404, 405)
    ]


def test_answers_on_uploads_are_as_described(api: APIClient) -> None:
    wanted = {
        "filename": "in.jsonl",
        "purpose": "batch",
        "bytes": 9,
        "mime_type": "application/jsonl",
    }
    begun = api.post("/v1/uploads", wanted, format="json")
    path = f"/v1/uploads/{begun.json()['id']}"
    other = api.post("/v1/uploads", wanted, format="json").json()["id"]
    part = api.post(f"{path}/parts", {"data": BytesIO(b'{"a": 1}\n')})
    ids = {"part_ids": [part.json()["id"]]}
    answers = [
        begun,
        part,
        api.post(f"{path}/parts", {}),
        api.post(f"{path}/complete", {}, format="json"),
        api.post(f"{path}/complete", ids, format="json"),
        api.post("/v1/uploads/upload_none/cancel"),
        api.post(f"/v1/uploads/{other}/cancel"),
        api.post("/v1/uploads", {"bytes": 1}, format="json"),
    ]

    for answer in answers:
        check(answer)
    assert [answer.status_code for answer in answers] == [
        *(200, 200, 400, 400, 200, 404, 200, 400)
    ]


def test_answers_on_batches_are_as_described(
    api: APIClient, make_file: MakeFile
) -> None:
    file = make_file(chat_lines(1))
    wanted = {**CREATE, "input_file_id": file.public_id}
    made = api.post(
        "/v1/batches",
        wanted
        | {
            "metadata": {"a": "b"},
            "batchsite": {"name": "N", "tags": ["t"], "priority": 3, "paused": True},
        },
        format="json",
    )
    path = f"/v1/batches/{made.json()['id']}"
    answers = [
        made,
        api.post("/v1/batches", {}, format="json"),
        api.post("/v1/batches/validate", wanted, format="json"),
        api.get("/v1/batches"),
        api.get("/v1/batches?limit=0"),
        api.get(path),
        api.post(path, {"batchsite": {"priority": 1}}, format="json"),
        api.post(path, {"batchsite": {"dedupe": True}}, format="json"),
        api.get(f"{path}/events"),
        api.get(f"{path}/results"),
        api.get(f"{path}/results?after=-1"),
        api.get(f"{path}/validation_errors"),
        api.post(f"{path}/retry", {}, format="json"),
        api.post(f"{path}/cancel"),
        api.get("/v1/batches/batch_none"),
    ]

    for answer in answers:
        check(answer)
    assert [answer.status_code for answer in answers] == [
        *(200, 400, 200, 200, 400, 200, 200, 400),
        *(200, 200, 400, 404, 400, 200, 404),
    ]


@pytest.mark.parametrize("status", Batch.Status.values)
def test_batches_of_each_status_are_as_described(
    api: APIClient, make_batch: MakeBatch, status: str
) -> None:
    batch = make_batch(status=status)

    shown = api.get(f"/v1/batches/{batch.public_id}")
    cancelled = api.post(f"/v1/batches/{batch.public_id}/cancel")

    assert shown.json()["status"] == status
    check(shown)
    check(cancelled)
    check(api.get("/v1/batches"))


def test_a_failed_batch_and_its_events_are_as_described(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    lifecycle.fail(
        batch,
        epoch=batch.stage_epoch,
        errors={
            "object": "list",
            "data": [{"code": "x", "message": "m", "param": None, "line": 3}],
        },
    )

    shown = api.get(f"/v1/batches/{batch.public_id}")

    assert shown.json()["errors"]["data"][0]["line"] == 3
    check(shown)
    check(api.get(f"/v1/batches/{batch.public_id}/events"))


def test_answers_on_models_are_as_described(api: APIClient) -> None:
    ServedModel.objects.create(name="a/b", source="a/b")

    for path, status in (
        ("/v1/models", 200),
        ("/v1/models/a/b", 200),
        ("/v1/models/c", 404),
    ):
        answer = api.get(path)
        assert answer.status_code == status
        check(answer)


def test_refusals_of_callers_are_as_described(
    client: Client, viewer: User, team: Team, make_batch: MakeBatch
) -> None:
    reader = api_client(viewer, team)
    batch = make_batch()
    answers = [
        client.get("/v1/files"),
        client.post("/v1/batches"),
        reader.delete("/v1/files/file-x"),
        reader.post(f"/v1/batches/{batch.public_id}/cancel"),
        client.get("/v1/nothing"),
    ]

    for answer in answers:
        check(answer)
    assert [answer.status_code for answer in answers] == [401, 401, 403, 403, 404]


def test_the_check_notices_what_is_not_described(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = api.get(f"/v1/batches/{make_batch().public_id}").json()
    assert fits("Batch", batch)

    def refuse(change: Callable[[dict[str, Any]], Any]) -> None:
        changed = json.loads(json.dumps(batch))
        change(changed)
        assert not fits("Batch", changed)

    refuse(lambda b: b.pop("usage"))
    refuse(lambda b: b.update(more=1))
    refuse(lambda b: b.update(status="queued"))
    refuse(lambda b: b.update(created_at="2026"))
    refuse(lambda b: b["batchsite"].pop("queue"))


def test_the_page_shows_every_operation_and_object(client: Client) -> None:
    r = client.get("/v1/docs")

    assert r.status_code == 200
    page = r.content.decode()
    for path, methods in document()["paths"].items():
        assert f"<code>{path}</code>" in page
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in page
    for name in document()["components"]["schemas"]:
        assert f'id="object-{name}"' in page
    assert client.post("/v1/docs").status_code == 405
