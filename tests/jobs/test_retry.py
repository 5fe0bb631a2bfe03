# SPDX-License-Identifier: Apache-2.0
"""POST /v1/batches/{id}/retry: failed or chosen rows as a child batch."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.storage import default_storage
from openai.types import Batch as OpenAIBatch
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from jobs import gates, retry, stages
from jobs.file_store import delete_file
from jobs.models import Batch, BatchFile, BatchRequest, Result, ServedModel
from tests.conftest import MakeBatch
from tests.inputs import api_client, error_of

BODY = (
    '{"model":"tiny", "messages": [{"role":"user","content":"NUMBER"}],'
    ' "odd": "\\ud800", "temperature": 1.50}'
)

RESULTS: dict[str, dict[str, Any]] = {
    "c": {"outcome": "completed", "status_code": 200, "body": "{}"},
    "f": {
        "outcome": "failed",
        "status_code": 400,
        "body": "{}",
        "error_class": "http_400",
    },
    "x": {
        "outcome": "failed",
        "error_code": "batch_expired",
        "error_class": "batch_expired",
    },
}


@pytest.fixture(autouse=True)
def tiny(db: None) -> ServedModel:
    return ServedModel.objects.create(name="tiny")


def ended(make_batch: MakeBatch, outcomes: str, **over: Any) -> Batch:
    """A completed batch of one row a letter: c completed, f refused, x never run."""
    failed = len(outcomes) - outcomes.count("c")
    batch = make_batch(
        status="completed",
        completed=outcomes.count("c"),
        failed=failed,
        model="tiny",
        **over,
    )
    for index, letter in enumerate(outcomes):
        request = BatchRequest.objects.create(
            batch=batch,
            index=index,
            line=index + 1,
            custom_id=f"é-{index}",
            url=batch.endpoint,
            model="tiny",
            body=BODY.replace("NUMBER", str(index)),
            run_order=index,
        )
        Result.objects.create(
            request=request, batch=batch, index=index, seq=index + 1, **RESULTS[letter]
        )
    return batch


def again(api: APIClient, batch: Batch, body: Any = None, **headers: str) -> Any:
    path = f"/v1/batches/{batch.public_id}/retry"
    return api.post(path, body or {}, format="json", headers=headers)


def rows_of(batch: Batch) -> list[dict[str, Any]]:
    assert batch.input_file is not None
    with default_storage.open(batch.input_file.storage_name) as content:
        return [json.loads(line) for line in content]


def test_the_failed_rows_run_again_as_they_were(
    api: APIClient, make_batch: MakeBatch, owner: User
) -> None:
    parent = ended(make_batch, "cfxc", name="Mails", tags=["a"], priority=3)
    assert parent.input_file is not None
    delete_file(file=parent.input_file, user=None)
    r = again(api, parent)
    assert r.status_code == 200, r.json()
    OpenAIBatch.model_validate(r.json(), strict=True)
    child = Batch.objects.get(public_id=r.json()["id"])
    shown = r.json()["batchsite"]
    assert shown["parent_id"] == parent.public_id
    assert (shown["name"], shown["tags"], shown["priority"]) == ("Mails", ["a"], 3)
    assert shown["derivation"] == {
        "kind": "retry",
        "of": parent.public_id,
        "rows": "failed",
        "count": 2,
        "model": None,
        "body": None,
        "body_keys": None,
        "system_prompt": None,
    }
    assert (child.owner, child.expected_requests) == (owner, 2)
    assert child.input_file is not None
    assert child.input_file.purpose == BatchFile.Purpose.BATCH
    assert child.input_file.filename == f"{parent.public_id}_retry.jsonl"
    stages.attend_batch(child.pk)
    child.refresh_from_db()
    assert (child.status, child.total) == ("in_progress", 2)
    old = parent.requests.filter(index__in=[1, 2]).order_by("index")
    new = child.requests.order_by("index")
    for column in ("custom_id", "url", "body", "model"):
        assert list(new.values_list(column)) == list(old.values_list(column))
    # a list of children shows the parent without a query for each
    again(api, parent)
    listed = api.get("/v1/batches").json()["data"]
    parents = [one["batchsite"]["parent_id"] for one in listed]
    assert parents == [parent.public_id, parent.public_id, None]


def test_chosen_rows_run_again_whatever_came_of_them(
    api: APIClient, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "IDS_AT_ONCE", 2)
    parent = ended(make_batch, "ccfcc")
    chosen = ["é-4", "é-0", "é-2", "é-0"]
    r = again(api, parent, {"custom_ids": chosen})
    child = Batch.objects.get(public_id=r.json()["id"])
    assert [row["custom_id"] for row in rows_of(child)] == ["é-0", "é-2", "é-4"]
    assert child.derivation is not None
    assert (child.derivation["rows"], child.derivation["count"]) == ("chosen", 3)


def test_model_parameters_and_system_prompt_are_changed_in_each_row(
    api: APIClient, make_batch: MakeBatch
) -> None:
    parent = ended(make_batch, "ff")
    r = again(
        api,
        parent,
        {
            "model": "large",
            "body": {"temperature": None, "max_tokens": 5},
            "system_prompt": "Be brief.",
            "metadata": {"try": "2"},
            "batchsite": {
                "name": "Second",
                "paused": True,
                "output_order": "completion",
            },
        },
    )
    child = Batch.objects.get(public_id=r.json()["id"])
    assert [row["body"] for row in rows_of(child)] == [
        {
            "model": "large",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": str(n)},
            ],
            "odd": "\ud800",
            "max_tokens": 5,
        }
        for n in range(2)
    ]
    assert (child.name, child.paused, child.output_order, child.metadata) == (
        "Second",
        True,
        "completion",
        {"try": "2"},
    )
    assert child.derivation is not None
    assert child.derivation["body"] == {"temperature": None, "max_tokens": 5}
    assert child.derivation["system_prompt"]["start"] == "Be brief."
    shown = api.get(f"/v1/batches/{child.public_id}").json()["batchsite"]
    assert shown["derivation"] == child.derivation


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"input_file_id": "x"}, "input_file_id", "unknown_parameter"),
        ({"custom_ids": "é-0"}, "custom_ids", "invalid_type"),
        ({"custom_ids": []}, "custom_ids", "empty_array"),
        ({"custom_ids": [1]}, "custom_ids[0]", "invalid_type"),
        ({"custom_ids": ["x"] * 10_001}, "custom_ids", "array_above_max_length"),
        ({"custom_ids": ["é-0", "none"]}, "custom_ids", "invalid_value"),
        ({"model": ""}, "model", "empty_string"),
        ({"body": []}, "body", "invalid_type"),
        ({"system_prompt": 7}, "system_prompt", "invalid_type"),
        ({"batchsite": {"x": 1}}, "batchsite.x", "unknown_parameter"),
    ],
)
def test_a_wrong_parameter_is_named(
    api: APIClient, make_batch: MakeBatch, body: Any, param: str, code: str
) -> None:
    assert error_of(again(api, ended(make_batch, "f"), body)) == (400, param, code)
    assert Batch.objects.count() == 1


@pytest.mark.parametrize("value", ["1e999", "-1e999", "[" * 300 + "]" * 300])
def test_members_that_could_not_be_written_are_refused(
    api: APIClient, make_batch: MakeBatch, value: str
) -> None:
    path = f"/v1/batches/{ended(make_batch, 'f').public_id}/retry"
    r = api.post(
        path, f'{{"body": {{"a": [{value}]}}}}', content_type="application/json"
    )
    assert error_of(r) == (400, "body", "invalid_value")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("in_progress", "a retry needs a batch that has ended"),
        ("validating", "a retry needs a batch that has ended"),
        ("failed", "has no requests to retry"),
    ],
)
def test_a_batch_that_has_not_run_cannot_be_retried(
    api: APIClient, make_batch: MakeBatch, status: str, message: str
) -> None:
    r = again(api, make_batch(status=status))
    assert error_of(r) == (400, None, None)
    assert message in r.json()["error"]["message"]


def test_without_failed_rows_there_is_nothing_to_do(
    api: APIClient, make_batch: MakeBatch
) -> None:
    r = again(api, ended(make_batch, "cc"))
    assert error_of(r) == (400, None, None)
    assert "no failed requests" in r.json()["error"]["message"]


def test_only_chats_have_a_system_prompt(api: APIClient, make_batch: MakeBatch) -> None:
    parent = ended(make_batch, "f", endpoint="/v1/embeddings")
    r = again(api, parent, {"system_prompt": "x"})
    assert error_of(r) == (400, "system_prompt", "invalid_value")


def test_a_refused_retry_leaves_no_file(
    api: APIClient, make_batch: MakeBatch, team: Team
) -> None:
    parent = ended(make_batch, "f")
    files = BatchFile.objects.present().count()
    team.max_queued_requests = 0
    team.save(update_fields=["max_queued_requests"])
    assert again(api, parent).status_code == 429
    assert BatchFile.objects.present().count() == files
    team.max_queued_requests = None
    team.max_file_bytes = 10
    team.save(update_fields=["max_queued_requests", "max_file_bytes"])
    r = again(api, parent)
    assert error_of(r) == (400, None, None)
    assert "larger than 10 bytes" in r.json()["error"]["message"]
    assert BatchFile.objects.present().count() == files
    assert Batch.objects.count() == 1


def stored_uploads() -> set[str]:
    folders = default_storage.listdir("uploads")[0]
    return {
        name
        for folder in folders
        for name in default_storage.listdir(f"uploads/{folder}")[1]
    }


def test_a_retry_that_makes_no_batch_leaves_no_row_and_no_bytes(
    make_batch: MakeBatch, owner: User
) -> None:
    parent = ended(make_batch, "f")
    files = BatchFile.objects.count()
    with retry.prepared(parent=parent, user=owner):
        # Until the batch is made the sweep finds bytes here that nobody names.
        assert len(stored_uploads()) == 1
        assert BatchFile.objects.count() == files
    assert not stored_uploads()
    with retry.prepared(parent=parent, user=owner) as make:
        child = make()
    assert child.input_file is not None
    assert len(stored_uploads()) == 1
    assert BatchFile.objects.count() == files + 1


def test_limits_are_asked_before_the_file_is_written(
    api: APIClient, make_batch: MakeBatch, settings: Settings
) -> None:
    parent = ended(make_batch, "ff")
    with gates.place(gates.FILES_WRITTEN, ""), gates.place(gates.FILES_WRITTEN, ""):
        r = again(api, parent)
        assert (r.status_code, r["Retry-After"]) == (429, "5")
        settings.BATCHSITE_MAX_QUEUED_REQUESTS = 1
        r = again(api, parent)
    assert r.status_code == 429
    assert "this file has 2 lines" in r.json()["error"]["message"]


def test_a_retry_with_a_key_runs_once(api: APIClient, make_batch: MakeBatch) -> None:
    parent, other = ended(make_batch, "f"), ended(make_batch, "f")
    first = again(api, parent, **{"Idempotency-Key": "k"})
    second = again(api, parent, **{"Idempotency-Key": "k"})
    assert second["idempotent-replayed"] == "true"
    assert second.json()["id"] == first.json()["id"]
    assert again(api, other, **{"Idempotency-Key": "k"}).status_code == 409
    assert parent.children.count() == 1
    assert not other.children.exists()


def test_many_rows_take_few_queries(
    api: APIClient,
    make_batch: MakeBatch,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    parent = ended(make_batch, "fc" * 20)
    api.get("/v1/batches")
    monkeypatch.setattr(retry, "IDS_AT_ONCE", 10)
    with django_assert_max_num_queries(48):
        r = again(api, parent)
    child = Batch.objects.get(public_id=r.json()["id"])
    assert len(rows_of(child)) == 20


def test_viewers_and_strangers_retry_nothing(
    make_batch: MakeBatch, team: Team, other_team: Team, viewer: User, stranger: User
) -> None:
    parent = ended(make_batch, "f")
    assert again(api_client(viewer, team), parent).status_code == 403
    assert again(api_client(stranger, other_team), parent).status_code == 404
