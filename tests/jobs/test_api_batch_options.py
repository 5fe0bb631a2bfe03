# SPDX-License-Identifier: Apache-2.0
"""The `batchsite` object of POST /v1/batches."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types import Batch as OpenAIBatch
from pytest_django import Settings
from rest_framework.test import APIClient

from batchsite.accounts.models import Team
from jobs.models import Batch
from tests.conftest import MakeFile
from tests.inputs import chat_lines, error_of

GOOD = {
    "input_file_id": "file-none",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
}


def create(api: APIClient, batchsite: Any, **over: Any) -> Any:
    body = GOOD | {"batchsite": batchsite} | over
    return api.post("/v1/batches", body, format="json")


def seconds_given(batch: Batch) -> int:
    return int((batch.expires_at - batch.created_at).total_seconds())


def test_every_option_is_kept_and_shown(
    api: APIClient, make_file: MakeFile, settings: Settings
) -> None:
    settings.BATCHSITE_WEBHOOK_ALLOWED = ["hooks.example.com"]
    given = {
        "name": "Nightly",
        "tags": ["mail", "test", "mail"],
        "priority": -100,
        "webhook_url": "https://hooks.example.com/batches",
        "dedupe": False,
        "output_order": "completion",
        "allow_mixed_models": True,
        "expires_in_seconds": 3600,
        "paused": True,
    }
    file = make_file(chat_lines(3), lines=3)
    r = create(api, given, input_file_id=file.public_id)
    assert r.status_code == 200, r.json()
    OpenAIBatch.model_validate(r.json(), strict=True)
    shown = r.json()["batchsite"]
    for name in set(given) - {"expires_in_seconds", "tags"}:
        assert shown[name] == given[name], name
    assert shown["tags"] == ["mail", "test"]
    assert r.json()["expires_at"] == r.json()["created_at"] + 3600
    assert shown["queue"]["position"] is None
    assert shown["queue"]["blocked_reason"] == "the batch is paused"
    batch = Batch.objects.get()
    assert batch.expected_requests == 3
    # what is shown is what was stored
    again = api.get(f"/v1/batches/{batch.public_id}").json()["batchsite"]
    assert again == shown


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"colour": "red"}, "batchsite.colour", "unknown_parameter"),
        ({"parent_id": "batch_1"}, "batchsite.parent_id", "unknown_parameter"),
        ({"name": 7}, "batchsite.name", "invalid_type"),
        ({"name": "x" * 201}, "batchsite.name", "string_above_max_length"),
        ({"tags": "mail"}, "batchsite.tags", "invalid_type"),
        ({"tags": ["a", 7]}, "batchsite.tags[1]", "invalid_type"),
        ({"tags": [""]}, "batchsite.tags[0]", "empty_string"),
        ({"tags": ["x" * 51]}, "batchsite.tags[0]", "string_above_max_length"),
        (
            {"tags": [str(n) for n in range(21)]},
            "batchsite.tags",
            "array_above_max_length",
        ),
        ({"priority": 101}, "batchsite.priority", "integer_above_max_value"),
        ({"priority": -101}, "batchsite.priority", "integer_below_min_value"),
        ({"priority": "5"}, "batchsite.priority", "invalid_type"),
        ({"priority": 0.5}, "batchsite.priority", "invalid_type"),
        ({"priority": True}, "batchsite.priority", "invalid_type"),
        ({"paused": 1}, "batchsite.paused", "invalid_type"),
        ({"dedupe": "no"}, "batchsite.dedupe", "invalid_type"),
        ({"allow_mixed_models": []}, "batchsite.allow_mixed_models", "invalid_type"),
        ({"output_order": "random"}, "batchsite.output_order", "invalid_value"),
        ({"output_order": 1}, "batchsite.output_order", "invalid_type"),
        (
            {"expires_in_seconds": 3599},
            "batchsite.expires_in_seconds",
            "integer_below_min_value",
        ),
        (
            {"expires_in_seconds": 2_592_001},
            "batchsite.expires_in_seconds",
            "integer_above_max_value",
        ),
        ({"webhook_url": 7}, "batchsite.webhook_url", "invalid_type"),
        ({"webhook_url": "ftp://x"}, "batchsite.webhook_url", "invalid_value"),
        (
            {"webhook_url": "http://127.0.0.1/x"},
            "batchsite.webhook_url",
            "invalid_value",
        ),
        (
            {"webhook_url": "x" * 501},
            "batchsite.webhook_url",
            "string_above_max_length",
        ),
        ([], "batchsite", "invalid_type"),
        ("paused", "batchsite", "invalid_type"),
    ],
)
def test_a_wrong_option_is_named(
    api: APIClient, given: Any, param: str, code: str
) -> None:
    assert error_of(create(api, given)) == (400, param, code)
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    "name", ["priority", "allow_mixed_models", "expires_in_seconds", "name", "paused"]
)
def test_options_are_not_taken_outside_of_their_object(
    api: APIClient, name: str
) -> None:
    r = api.post("/v1/batches", GOOD | {name: 5}, format="json")
    assert error_of(r) == (400, name, "unknown_parameter")


@pytest.mark.parametrize("given", [None, {}, {"name": None, "priority": None}])
def test_null_is_as_good_as_nothing(api: APIClient, given: Any) -> None:
    assert create(api, given).status_code == 200
    batch = Batch.objects.get()
    assert (batch.name, batch.priority) == ("", 0)
    assert seconds_given(batch) == 86_400


def test_the_teams_time_stands_in_for_a_day_and_the_callers_for_both(
    api: APIClient, team: Team
) -> None:
    team.batch_seconds = 7200
    team.save(update_fields=["batch_seconds"])
    create(api, {})
    create(api, {"expires_in_seconds": 2_592_000})
    newest, first = Batch.objects.all()
    assert seconds_given(first) == 7200
    assert seconds_given(newest) == 2_592_000
