# SPDX-License-Identifier: Apache-2.0
"""OpenAI's own Python client, unchanged, against a running server (T-01 to T-11)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pytest_django.live_server_helper import LiveServer

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import create_api_key
from jobs.models import Batch, ServedModel
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import chat_lines

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sdk(live_server: LiveServer, owner: User, team: Team) -> Iterator[OpenAI]:
    token = create_api_key(team=team, user=owner, name="sdk")
    with OpenAI(
        base_url=f"{live_server.url}/v1",
        api_key=token,
        organization="org-ignored",
        project="proj_ignored",
        max_retries=1,
        # Answers that do not fit OpenAI's types are errors.
        _strict_response_validation=True,
    ) as client:
        yield client


def test_a_file_goes_up_and_comes_back(sdk: OpenAI) -> None:
    content = b"\xef\xbb\xbf" + chat_lines(200).replace(b"\n", b"\r\n")
    file = sdk.files.create(
        file=("rows.jsonl", io.BytesIO(content)),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (file.filename, file.bytes) == ("rows.jsonl", len(content))
    assert file.expires_at == file.created_at + 3600
    assert sdk.files.wait_for_processing(file.id).status == "processed"
    assert sdk.files.retrieve(file.id) == file
    assert sdk.files.content(file.id).read() == content
    assert sdk.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError, match="No such File object") as caught:
        sdk.files.content(file.id)
    assert caught.value.request_id is not None
    assert caught.value.param == "id"


def test_a_batch_is_made_watched_listed_and_cancelled(
    sdk: OpenAI, make_batch: MakeBatch
) -> None:
    other = make_batch(status="completed")
    file = sdk.files.create(file=("a.jsonl", chat_lines(2)), purpose="batch")
    batch = sdk.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"run": "7"},
        output_expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (batch.status, batch.metadata) == ("validating", {"run": "7"})
    assert sdk.batches.retrieve(batch.id) == batch
    assert [one.id for one in sdk.batches.list()] == [batch.id, other.public_id]
    assert sdk.batches.cancel(batch.id).status == "cancelling"
    assert sdk.batches.cancel(batch.id).status == "cancelling"


def test_pages_are_walked_to_the_end(sdk: OpenAI, make_batch: MakeBatch) -> None:
    file = make_batch().input_file
    for _ in range(4):
        make_batch(input_file=file)
    ids = [batch.public_id for batch in Batch.objects.all()]
    assert [batch.id for batch in sdk.batches.list(limit=2)] == ids


def test_all_files_are_deleted_while_they_are_listed(
    sdk: OpenAI, make_file: MakeFile
) -> None:
    for _ in range(5):
        make_file()
    for file in sdk.files.list(limit=2):
        sdk.files.delete(file.id)
    assert list(sdk.files.list()) == []


def test_a_conflict_is_not_repeated(sdk: OpenAI, make_batch: MakeBatch) -> None:
    batch = make_batch(status="completed")
    with pytest.raises(openai.ConflictError) as caught:
        sdk.batches.cancel(batch.public_id)
    assert "Cannot cancel a batch with status 'completed'." in str(caught.value)
    sent = caught.value.request.headers
    assert sent["x-stainless-retry-count"] == "0"


def test_errors_are_the_clients_own(sdk: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.batches.create(
            input_file_id="file-1",
            endpoint="/v1/nothing",  # type: ignore[arg-type]  # wrong on purpose
            completion_window="24h",
        )
    assert (caught.value.param, caught.value.code) == ("endpoint", "invalid_value")
    with pytest.raises(openai.BadRequestError, match=r"Must be \.jsonl"):
        sdk.files.create(file=("a.txt", b"{}"), purpose="batch")
    with pytest.raises(openai.AuthenticationError) as refused:
        sdk.with_options(api_key="sk-bs-wrong").files.list()
    assert refused.value.code == "invalid_api_key"


def test_what_openai_does_not_have_is_reached_by_the_sdks_own_means(
    sdk: OpenAI,
) -> None:
    file = sdk.files.create(file=("a.jsonl", chat_lines(2)), purpose="batch")
    asked: dict[str, Any] = {
        "input_file_id": file.id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    found = sdk.post("/batches/validate", body=asked, cast_to=dict)
    assert found["error_count"] == 2
    batches = [
        sdk.batches.create(
            **asked,
            extra_body={"batchsite": {"name": "Mails", "priority": 10}},
            extra_headers={"Idempotency-Key": "mails"},
        )
        for _ in range(2)
    ]
    assert batches[0].id == batches[1].id
    batch = sdk.post(
        f"/batches/{batches[0].id}",
        body={"batchsite": {"paused": True, "priority": 50}},
        cast_to=type(batches[0]),
    )
    ours: Any = batch.to_dict()["batchsite"]
    assert (ours["name"], ours["priority"], ours["paused"]) == ("Mails", 50, True)
    with pytest.raises(openai.BadRequestError, match="that has ended"):
        sdk.post(f"/batches/{batch.id}/retry", body={}, cast_to=type(batch))


def test_models(sdk: OpenAI, db: None) -> None:
    ServedModel.objects.create(name="org/small", source="/models/small")
    assert [model.id for model in sdk.models.list()] == ["org/small"]
    assert sdk.models.retrieve("org/small").owned_by == "batchsite"
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.models.retrieve("nothing")
    assert caught.value.code == "model_not_found"
