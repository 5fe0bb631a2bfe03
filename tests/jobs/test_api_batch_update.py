# SPDX-License-Identifier: Apache-2.0
"""POST /v1/batches/{id}: changes after the creation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from openai.types import Batch as OpenAIBatch
from rest_framework.test import APIClient

from batchsite.accounts.models import AuditEvent, Team, User
from jobs import claims
from jobs.changes import update_batch
from jobs.models import Batch
from tests.conftest import MakeBatch
from tests.inputs import api_client, error_of
from tests.jobs.rows import running_batch


def change(api: APIClient, batch: Batch, **body: Any) -> Any:
    return api.post(f"/v1/batches/{batch.public_id}", body, format="json")


def test_everything_that_may_change_changes_with_its_history(
    api: APIClient, make_batch: MakeBatch, owner: User
) -> None:
    batch = make_batch(metadata={"old": "1"})
    options = {"name": "New", "tags": ["a"], "priority": 7, "paused": True}
    r = change(
        api,
        batch,
        metadata={"new": "2"},
        batchsite=options | {"expires_in_seconds": 172_800},
    )
    assert r.status_code == 200, r.json()
    OpenAIBatch.model_validate(r.json(), strict=True)
    assert r.json()["metadata"] == {"new": "2"}
    assert {name: r.json()["batchsite"][name] for name in options} == options
    assert r.json()["expires_at"] == r.json()["created_at"] + 172_800
    shown = api.get(f"/v1/batches/{batch.public_id}").json()
    assert shown == r.json()
    told = {e.kind: e for e in batch.events.exclude(kind="changed")}
    assert set(told) == {"priority", "paused", "deadline"}
    assert told["priority"].message == f"0 to 7, asked for by {owner}"
    assert told["paused"].message == f"asked for by {owner}"
    assert batch.events.filter(kind="changed").count() == 3
    noted = AuditEvent.objects.get(action="batch.update")
    assert noted.target == batch.public_id


def test_the_history_keeps_no_values_of_metadata_and_tags(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = make_batch(metadata={"same": "1", "old": "2", "other": "3"})
    given = {"same": "1", "other": "secret", "new": "4"}
    r = change(api, batch, metadata=given, batchsite={"tags": ["secret"], "name": "N"})
    assert r.status_code == 200, r.json()
    told = {
        e.message.partition(",")[0]: e.data for e in batch.events.filter(kind="changed")
    }
    assert told == {
        "metadata": {"keys": ["new", "old", "other"]},
        "tags": None,
        "name": {"old": "", "new": "N"},
    }


def test_a_batch_changes_a_thousand_times_and_can_be_resumed_then(
    api: APIClient, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.changes.MOST_CHANGES", 3)
    batch = make_batch(status="in_progress")
    for priority in (1, 2):
        r = change(api, batch, batchsite={"priority": priority})
        assert r.status_code == 200, r.json()
    r = change(api, batch, batchsite={"paused": True, "name": "x"})
    assert r.status_code == 409
    assert "can be changed 3 times" in r.json()["error"]["message"]
    assert r.headers["x-should-retry"] == "false"
    assert change(api, batch, batchsite={"paused": True}).status_code == 200
    assert change(api, batch, metadata={"a": "1"}).status_code == 409
    assert change(api, batch, batchsite={"paused": False}).status_code == 200
    assert change(api, batch, batchsite={"paused": True}).status_code == 409
    batch.refresh_from_db()
    assert (batch.priority, batch.paused, batch.name) == (2, False, "")


def test_nothing_else_of_a_batch_can_be_changed(make_batch: MakeBatch) -> None:
    with pytest.raises(ValueError, match="No batch is changed in status"):
        update_batch(batch=make_batch(), user=None, status="completed")


def test_a_change_to_what_is_there_already_leaves_no_trace(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = make_batch(name="Same")
    for body in ({}, {"batchsite": {"name": "Same", "paused": False}}):
        assert change(api, batch, **body).status_code == 200
    assert not batch.events.exists()


def test_metadata_goes_with_null_and_stays_without_it(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = make_batch(metadata={"a": "1"})
    assert change(api, batch).json()["metadata"] == {"a": "1"}
    assert change(api, batch, metadata=None).json()["metadata"] is None


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"status": "completed"}, "status", "unknown_parameter"),
        ({"endpoint": "/v1/responses"}, "endpoint", "unknown_parameter"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        (
            {"batchsite": {"dedupe": False}},
            "batchsite.dedupe",
            "unknown_parameter",
        ),
        (
            {"batchsite": {"priority": 101}},
            "batchsite.priority",
            "integer_above_max_value",
        ),
        (
            {"batchsite": {"expires_in_seconds": 2_592_001}},
            "batchsite.expires_in_seconds",
            "integer_above_max_value",
        ),
    ],
)
def test_a_wrong_change_is_named(
    api: APIClient, make_batch: MakeBatch, body: Any, param: str, code: str
) -> None:
    assert error_of(change(api, make_batch(), **body)) == (400, param, code)


def test_a_deadline_must_lie_ahead(api: APIClient, make_batch: MakeBatch) -> None:
    batch = make_batch(created_at=timezone.now() - timedelta(hours=2))
    r = change(api, batch, batchsite={"expires_in_seconds": 3600, "name": "x"})
    assert error_of(r) == (400, "batchsite.expires_in_seconds", "invalid_value")
    batch.refresh_from_db()
    assert batch.name == ""
    # an earlier one is fine as long as it does
    r = change(api, batch, batchsite={"expires_in_seconds": 10_800})
    assert r.json()["expires_at"] == r.json()["created_at"] + 10_800


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"paused": True}, "pause"),
        ({"priority": 1}, "priority"),
        ({"expires_in_seconds": 172_800}, "deadline"),
    ],
)
@pytest.mark.parametrize("status", ["finalizing", "completed", "failed", "cancelling"])
def test_what_comes_too_late_is_a_conflict_and_changes_nothing(
    api: APIClient,
    make_batch: MakeBatch,
    status: str,
    given: dict[str, Any],
    word: str,
) -> None:
    batch = make_batch(status=status)
    r = change(api, batch, batchsite=given | {"name": "x"})
    assert error_of(r) == (409, None, None)
    assert r["x-should-retry"] == "false"
    message = f"Cannot change the {word} of a batch with status '{status}'."
    assert r.json()["error"]["message"] == message
    batch.refresh_from_db()
    assert batch.name == ""
    assert not batch.events.exists()


def test_names_may_change_when_the_batch_has_ended(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = make_batch(status="completed")
    r = change(
        api, batch, metadata={"a": "1"}, batchsite={"name": "Done", "tags": ["x"]}
    )
    assert r.status_code == 200
    assert r.json()["batchsite"]["name"] == "Done"
    assert r.json()["batchsite"]["queue"] is None


def test_a_paused_batch_gives_no_work_and_a_resumed_one_does(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = running_batch(make_batch)
    assert [w.batch for w in claims.claimable_work(None)] == [batch.pk]
    change(api, batch, batchsite={"paused": True})
    assert claims.claimable_work(None) == []
    # feeders stop submitting what they hold
    assert claims.still_running([batch.pk]) == set()
    change(api, batch, batchsite={"paused": False})
    assert claims.still_running([batch.pk]) == {batch.pk}
    kinds = list(batch.events.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["paused", "resumed"]


def test_members_may_change_viewers_may_not_and_strangers_see_nothing(
    make_batch: MakeBatch,
    team: Team,
    other_team: Team,
    teammate: User,
    viewer: User,
    stranger: User,
) -> None:
    batch = make_batch()
    for person, its_team, status in (
        (teammate, team, 200),
        (viewer, team, 403),
        (stranger, other_team, 404),
    ):
        r = change(api_client(person, its_team), batch, batchsite={"name": "x"})
        assert r.status_code == status
