# SPDX-License-Identifier: Apache-2.0
"""The Idempotency-Key header of calls that make batches."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from openai.types import Batch as OpenAIBatch
from pytest_django import Settings
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from jobs import idempotency
from jobs.models import Batch, BatchRequest, IdempotencyKey, Result
from tests.conftest import MakeBatch
from tests.inputs import api_client, error_of
from tests.site import DATABASES, Site

GOOD = {
    "input_file_id": "file-none",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
}


def create(api: APIClient, key: str = "k-1", **over: Any) -> Any:
    return api.post(
        "/v1/batches", GOOD | over, format="json", headers={"Idempotency-Key": key}
    )


def test_repeating_a_call_with_its_key_answers_the_same_batch(api: APIClient) -> None:
    first = create(api, metadata={"a": "1", "b": "2"})
    assert "idempotent-replayed" not in first
    again = create(api, metadata={"b": "2", "a": "1"})
    assert again.status_code == 200
    assert again["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    OpenAIBatch.model_validate(again.json(), strict=True)
    assert Batch.objects.count() == 1


def test_another_body_with_the_key_is_a_conflict_that_nobody_repeats(
    api: APIClient,
) -> None:
    create(api)
    r = create(api, metadata={"run": "2"})
    assert error_of(r) == (409, "Idempotency-Key", "idempotency_key_reused")
    assert r["x-should-retry"] == "false"
    assert Batch.objects.count() == 1


def test_other_keys_other_teams_and_no_key_make_other_batches(
    api: APIClient, stranger: User, other_team: Team
) -> None:
    create(api)
    create(api, "k-2")
    create(api_client(stranger, other_team))
    api.post("/v1/batches", GOOD, format="json")
    assert Batch.objects.count() == 4


def test_a_refused_call_leaves_its_key_free(api: APIClient) -> None:
    assert create(api, endpoint="/v1/none").status_code == 400
    r = create(api)
    assert r.status_code == 200
    assert "idempotent-replayed" not in r


@pytest.mark.parametrize("call", ["create", "retry"])
def test_a_repeated_call_is_answered_although_its_address_is_not_allowed_any_more(
    api: APIClient, make_batch: MakeBatch, settings: Settings, call: str
) -> None:
    parent = make_batch(status="completed", failed=1)
    row = BatchRequest.objects.create(
        batch=parent,
        index=0,
        line=1,
        custom_id="a",
        url=parent.endpoint,
        body="{}",
        run_order=0,
    )
    Result.objects.create(
        request=row,
        batch=parent,
        index=0,
        seq=1,
        outcome="failed",
        error_code="x",
        error_class="x",
    )
    path, body = {
        "create": ("/v1/batches", GOOD),
        "retry": (f"/v1/batches/{parent.public_id}/retry", {}),
    }[call]

    def post(**headers: str) -> Any:
        return api.post(path, body | own, format="json", headers=headers)

    own: dict[str, Any] = {"batchsite": {"webhook_url": "http://127.0.0.1:8341/"}}
    settings.BATCHSITE_WEBHOOK_ALLOWED = ["127.0.0.1"]
    first = post(**{"Idempotency-Key": "k"})
    assert first.status_code == 200, first.json()
    settings.BATCHSITE_WEBHOOK_ALLOWED = []
    again = post(**{"Idempotency-Key": "k"})
    assert again["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    refused = (400, "batchsite.webhook_url", "invalid_value")
    assert error_of(post(**{"Idempotency-Key": "new"})) == refused
    assert error_of(post()) == refused


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x7fb"])
def test_what_is_no_key_is_named(api: APIClient, key: str) -> None:
    assert error_of(create(api, key)) == (400, "Idempotency-Key", "invalid_value")


def test_a_key_lives_for_a_day(api: APIClient) -> None:
    create(api)
    create(api, "young")
    old = timezone.now() - idempotency.KEY_LIFE - timedelta(seconds=1)
    IdempotencyKey.objects.filter(key="k-1").update(created_at=old)
    assert idempotency.has_old_keys()
    assert "idempotent-replayed" not in create(api, metadata={"run": "2"})
    assert Batch.objects.count() == 3
    assert not idempotency.has_old_keys()
    IdempotencyKey.objects.filter(key="k-1").update(created_at=old)
    assert idempotency.sweep() == "1 keys"
    assert IdempotencyKey.objects.get().key == "young"


@pytest.mark.slow
@pytest.mark.parametrize("site", DATABASES, indirect=True)
def test_parallel_calls_with_one_key_make_one_batch(site: Site) -> None:
    code = "from tests.jobs.parallel import create_batches; create_batches(8)"
    answers = json.loads(site.python(code))
    assert [status for status, _, _ in answers] == [200] * 8
    assert len({public_id for _, public_id, _ in answers}) == 1
    assert sum(replayed for _, _, replayed in answers) == 7
    assert len(site.query("SELECT id FROM jobs_batch")) == 1
    assert len(site.query("SELECT id FROM jobs_batchevent")) == 1
