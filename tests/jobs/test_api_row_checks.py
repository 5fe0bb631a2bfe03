# SPDX-License-Identifier: Apache-2.0
"""Checks in the API: given, added, summed up, and in the lines of results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Batch as OpenAIBatch
from rest_framework.test import APIClient

from jobs import retry, row_checks
from jobs.models import Batch, RowCheck
from jobs.row_checks import following
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import chat_lines, error_of
from tests.web import rows

CHECKS: list[dict[str, Any]] = [
    {"name": "valid", "kind": "json"},
    {"name": "short", "kind": "length", "params": {"most": 5}},
]
NOTHING = {"checked": 0, "passed": 0, "failed": 0, "not_applicable": 0, "errors": 0}


def change(api: APIClient, batch: Batch, checks: Any, **over: Any) -> Any:
    body = {"batchsite": {"checks": checks} | over}
    return api.post(f"/v1/batches/{batch.public_id}", body, format="json")


@pytest.fixture
def batch(make_batch: MakeBatch) -> Batch:
    """Runs; three answers, of which the second is no JSON, and a failed request."""
    made = rows.running(make_batch)
    texts = ["[1]", "no", '{"long": "answer"}']
    rows.answer(made, [rows.chat(t) for t in texts], failed=[rows.CONTEXT_ERROR])
    return made


def test_a_batch_is_made_with_checks(api: APIClient, make_file: MakeFile) -> None:
    file = make_file(chat_lines(2), lines=2)
    body = {
        "input_file_id": file.public_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "batchsite": {"checks": CHECKS},
    }
    r = api.post("/v1/batches", body, format="json")
    assert r.status_code == 200, r.json()
    OpenAIBatch.model_validate(r.json(), strict=True)
    shown = r.json()["batchsite"]["checks"]
    assert shown == [
        {"name": "valid", "kind": "json", "params": {}} | NOTHING,
        {"name": "short", "kind": "length", "params": {"most": 5}} | NOTHING,
    ]
    again = api.get(f"/v1/batches/{r.json()['id']}").json()
    assert again["batchsite"]["checks"] == shown
    (listed,) = api.get("/v1/batches").json()["data"]
    assert [one["params"] for one in listed["batchsite"]["checks"]] == [None, None]


def test_a_batch_without_checks_has_none(api: APIClient, batch: Batch) -> None:
    shown = api.get(f"/v1/batches/{batch.public_id}").json()
    assert shown["batchsite"]["checks"] == []
    r = api.get(f"/v1/batches/{batch.public_id}/results")
    for line in r.content.splitlines():
        assert "batchsite" not in json.loads(line)


def test_what_is_wrong_is_named(api: APIClient, batch: Batch) -> None:
    wrong = {"name": "a", "kind": "regex", "params": {"pattern": "("}}
    r = change(api, batch, [CHECKS[0], wrong], name="New")
    param = "batchsite.checks[1].params.pattern"
    assert error_of(r) == (400, param, "invalid_value")
    # all or nothing
    batch.refresh_from_db()
    assert (batch.name, batch.check_count) == ("", 0)


def test_checks_are_added_to_a_batch_in_any_status(
    api: APIClient, batch: Batch
) -> None:
    assert change(api, batch, CHECKS[:1]).status_code == 200
    r = change(api, batch, CHECKS)
    assert [c["name"] for c in r.json()["batchsite"]["checks"]] == ["valid", "short"]
    r = change(api, batch, [{"name": "valid", "kind": "not_empty"}])
    assert error_of(r) == (400, "batchsite.checks[0].name", "invalid_value")


def test_a_refused_change_adds_no_checks(api: APIClient, make_batch: MakeBatch) -> None:
    batch = make_batch(status="completed", completed=2)
    assert change(api, batch, CHECKS, priority=3).status_code == 409
    assert not RowCheck.objects.exists()
    assert change(api, batch, CHECKS).status_code == 200


def test_results_carry_what_the_checks_said(api: APIClient, batch: Batch) -> None:
    change(api, batch, CHECKS)
    following.run()
    rows.answer(batch, [rows.chat("new")])
    shown = api.get(f"/v1/batches/{batch.public_id}").json()["batchsite"]["checks"]
    counted = {"checked": 4, "passed": 2, "failed": 1, "not_applicable": 1, "errors": 0}
    assert shown[0] == {**CHECKS[0], "params": {}} | counted
    r = api.get(f"/v1/batches/{batch.public_id}/results")
    said = [json.loads(line)["batchsite"]["checks"] for line in r.content.splitlines()]
    assert [list(one) for one in said] == [["valid", "short"]] * 5
    assert said[0]["valid"] == {"outcome": "passed", "reason": None}
    assert said[1]["valid"] == {
        "outcome": "failed",
        "reason": "not JSON: Expecting value at character 1",
    }
    assert said[3]["short"]["outcome"] == "not_applicable"
    assert said[4]["short"] == {"outcome": None, "reason": None}


def test_results_of_one_check(api: APIClient, batch: Batch) -> None:
    change(api, batch, CHECKS)
    following.run()

    def found(query: str) -> tuple[list[str], str, str]:
        r = api.get(f"/v1/batches/{batch.public_id}/results?{query}")
        assert r.status_code == 200, r.content
        ids = [json.loads(line)["custom_id"] for line in r.content.splitlines()]
        return ids, r["x-batchsite-last-seq"], r["x-batchsite-has-more"]

    assert found("check=valid:failed") == (["row-1"], "4", "false")
    assert found("check=short:failed") == (["row-2"], "4", "false")
    assert found("check=:failed&limit=1") == (["row-1"], "2", "true")
    assert found("check=:failed&after=2") == (["row-2"], "4", "false")
    assert found("check=valid:passed") == (["row-0", "row-2"], "4", "false")
    assert found("check=valid:not_applicable") == (["row-3"], "4", "false")
    assert found("check=valid:passed&outcome=failed") == ([], "4", "false")
    # what was not checked is not passed over
    rows.answer(batch, [rows.chat("not JSON")])
    assert found("check=valid:failed") == (["row-1"], "4", "true")
    assert found("check=valid:failed&after=4") == ([], "4", "true")
    following.run()
    assert found("check=valid:failed&after=4") == (["row-4"], "5", "false")


@pytest.mark.parametrize("check", ["valid", "gone:failed", "valid:good", "%00:failed"])
def test_an_unknown_check_is_told(api: APIClient, batch: Batch, check: str) -> None:
    change(api, batch, CHECKS)
    r = api.get(f"/v1/batches/{batch.public_id}/results?check={check}")
    assert error_of(r) == (400, "check", "invalid_value")


def test_a_retry_has_its_parents_checks_unless_it_is_given_others(
    api: APIClient, batch: Batch
) -> None:
    change(api, batch, CHECKS)
    Batch.objects.filter(pk=batch.pk).update(
        status="completed",
        closing_reason="done",
        closed_at=batch.in_progress_at,
        completed_at=batch.in_progress_at,
        total=4,
    )
    batch.refresh_from_db()
    for over, names in (({}, ["valid", "short"]), ({"checks": []}, [])):
        given = {"checks": row_checks.read("c", over["checks"])} if over else {}
        with retry.prepared(parent=batch, user=None, over=given) as make:
            child = make()
        assert [one.name for one in row_checks.definitions_of(child)] == names
    address = f"/v1/batches/{batch.public_id}/retry"
    body = {"batchsite": {"checks": CHECKS[1:]}}
    r = api.post(address, body, format="json")
    assert [c["name"] for c in r.json()["batchsite"]["checks"]] == ["short"]
    # and it runs
    assert following.run()
