# SPDX-License-Identifier: Apache-2.0
"""Results while the batch runs, its history, and its validation report."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from batchsite.accounts.models import AuditEvent, Team, User
from batchsite.web.audit_lines import words
from jobs import output, stages
from jobs.models import Batch, Result, ServedModel
from jobs.recording import record
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import api_client, error_of
from tests.jobs.rows import answer, claim_next, external_engine, running_batch


def answered(make_batch: MakeBatch, order: list[int], **over: Any) -> Batch:
    """A running batch whose rows were answered in that order; odd rows failed."""
    batch = running_batch(make_batch, chunks=[len(order)], **over)
    claim = claim_next(external_engine())
    assert claim is not None
    for place in order:
        failed = {"outcome": "failed", "status_code": 400, "body": '{"error": {}}'}
        result = answer(claim, place, **(failed if place % 2 else {}))
        record(claim.lease, [result], with_copies=False, finished=place == order[-1])
    batch.refresh_from_db()
    return batch


def results(api: APIClient, batch: Batch, query: str = "") -> Any:
    return api.get(f"/v1/batches/{batch.public_id}/results{query}")


def ids(r: Any) -> list[str]:
    return [json.loads(line)["custom_id"] for line in r.content.splitlines()]


def test_results_come_as_output_lines_in_the_order_of_their_arrival(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = answered(make_batch, [3, 0, 2, 1])
    r = results(api, batch)
    assert r.status_code == 200
    assert r["Content-Type"] == "application/jsonl"
    assert ids(r) == ["r3", "r0", "r2", "r1"]
    assert (r["x-batchsite-last-seq"], r["x-batchsite-has-more"]) == ("4", "false")
    row = json.loads(r.content.splitlines()[0])
    assert set(row) == {"id", "custom_id", "response", "error"}
    assert row["response"]["status_code"] == 400


def test_a_reader_that_goes_on_after_the_last_seq_gets_each_result_once(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = answered(make_batch, [4, 3, 2, 1, 0])
    found, after, more = [], 0, "true"
    while more == "true":
        r = results(api, batch, f"?limit=2&after={after}")
        found += ids(r)
        after, more = int(r["x-batchsite-last-seq"]), r["x-batchsite-has-more"]
    assert found == ["r4", "r3", "r2", "r1", "r0"]
    r = results(api, batch, f"?after={after}")
    assert (r.content, r["x-batchsite-last-seq"]) == (b"", "5")


def test_results_of_one_outcome(api: APIClient, make_batch: MakeBatch) -> None:
    batch = answered(make_batch, [0, 1, 2, 3, 4])
    assert ids(results(api, batch, "?outcome=failed")) == ["r1", "r3"]
    r = results(api, batch, "?outcome=completed&limit=2")
    assert ids(r) == ["r0", "r2"]
    assert (r["x-batchsite-last-seq"], r["x-batchsite-has-more"]) == ("3", "true")
    # without a match the cursor still moves on
    r = results(api, batch, "?outcome=failed&after=4")
    assert (ids(r), r["x-batchsite-last-seq"]) == ([], "5")


def test_one_call_searches_only_so_far_for_an_outcome(
    api: APIClient, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = answered(make_batch, [0, 2, 4, 1, 3])
    monkeypatch.setattr(output, "SEARCHED_AT_ONCE", 2)
    seen = []
    after, more = 0, "true"
    while more == "true":
        r = results(api, batch, f"?outcome=failed&after={after}")
        seen.append((ids(r), r["x-batchsite-last-seq"]))
        after, more = int(r["x-batchsite-last-seq"]), r["x-batchsite-has-more"]
    assert seen == [([], "2"), (["r1"], "4"), (["r3"], "5")]


def test_long_answers_are_cut_into_several_calls(
    api: APIClient, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = answered(make_batch, [0, 2, 4, 1, 3])
    monkeypatch.setattr(output, "PAGE_CHARACTERS", 60)
    r = results(api, batch)
    assert ids(r) == ["r0", "r2"]
    assert (r["x-batchsite-last-seq"], r["x-batchsite-has-more"]) == ("2", "true")


def test_a_batch_without_results_has_an_empty_page(
    api: APIClient, make_batch: MakeBatch
) -> None:
    r = results(api, make_batch())
    assert (r.status_code, r.content, r["x-batchsite-last-seq"]) == (200, b"", "0")


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ("?after=-1", "after", "integer_below_min_value"),
        ("?after=x", "after", "invalid_type"),
        ("?after=99999999999", "after", "integer_above_max_value"),
        ("?limit=0", "limit", "integer_below_min_value"),
        ("?limit=1001", "limit", "integer_above_max_value"),
        ("?outcome=good", "outcome", "invalid_value"),
    ],
)
def test_a_wrong_query_is_named(
    api: APIClient, make_batch: MakeBatch, query: str, param: str, code: str
) -> None:
    assert error_of(results(api, make_batch(), query)) == (400, param, code)


@pytest.mark.parametrize("order", ["input", "completion"])
def test_the_output_file_is_in_the_order_that_was_asked_for(
    api: APIClient, make_batch: MakeBatch, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # several pages, cut by rows and by size
    monkeypatch.setattr(output, "PAGE_ROWS", 2)
    batch = answered(make_batch, [5, 3, 4, 0, 1, 2], output_order=order)
    stages.attend_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.status == Batch.Status.COMPLETED
    assert batch.output_file is not None
    assert batch.error_file is not None
    files = [
        b"".join(api.get(f"/v1/files/{file.public_id}/content"))
        for file in (batch.output_file, batch.error_file)
    ]
    good, bad = (
        [json.loads(line)["custom_id"] for line in content.splitlines()]
        for content in files
    )
    if order == "input":
        assert (good, bad) == (["r0", "r2", "r4"], ["r1", "r3", "r5"])
    else:
        assert (good, bad) == (["r4", "r0", "r2"], ["r5", "r3", "r1"])
    # partial results are the very lines of the files
    partial = results(api, batch).content.splitlines()
    assert sorted(partial) == sorted(b"".join(files).splitlines())


def test_events_are_the_history_oldest_first(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    api.post(f"/v1/batches/{batch.public_id}", {"batchsite": {"paused": True}}, "json")
    api.post(f"/v1/batches/{batch.public_id}/cancel")
    r = api.get(f"/v1/batches/{batch.public_id}/events").json()
    assert (r["object"], r["has_more"]) == ("list", False)
    first, last = r["data"]
    assert first["kind"] == "paused"
    assert first["old_status"] is None
    assert (last["kind"], last["old_status"], last["new_status"]) == (
        "status",
        "validating",
        "cancelling",
    )
    assert set(last) == {
        *("id", "object", "created_at", "kind", "old_status", "new_status"),
        *("message", "data"),
    }
    page = api.get(f"/v1/batches/{batch.public_id}/events?limit=1").json()
    assert (page["data"], page["has_more"]) == ([first], True)
    rest = api.get(f"/v1/batches/{batch.public_id}/events?after={first['id']}").json()
    assert rest["data"] == [last]


@pytest.mark.parametrize("after", ["x", "evt_0", "evt_" + "f" * 24, "evt_" + "0" * 24])
def test_an_unknown_event_is_no_cursor(
    api: APIClient, make_batch: MakeBatch, after: str
) -> None:
    r = api.get(f"/v1/batches/{make_batch().public_id}/events?after={after}")
    assert error_of(r) == (400, "after", "invalid_value")


def test_the_validation_report_has_all_bad_lines(
    api: APIClient, make_batch: MakeBatch, make_file: MakeFile
) -> None:
    ServedModel.objects.create(name="tiny")
    batch = make_batch(input_file=make_file(b"x\n" * 1200))
    assert error_of(api.get(f"/v1/batches/{batch.public_id}/validation_errors")) == (
        404,
        None,
        None,
    )
    stages.attend_batch(batch.pk)
    r = api.get(f"/v1/batches/{batch.public_id}/validation_errors")
    assert r["Content-Type"] == "application/jsonl"
    rows = [json.loads(line) for line in b"".join(r).splitlines()]
    assert [row["line"] for row in rows] == list(range(1, 1201))
    assert set(rows[0]) == {"code", "message", "param", "line"}


def test_a_page_of_the_history_is_cut_at_a_megabyte(
    api: APIClient, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    for _ in range(3):
        batch.events.create(kind="changed", data={"old": "x" * 400_000})
    path = f"/v1/batches/{batch.public_id}/events"
    first = api.get(path).json()
    assert (len(first["data"]), first["has_more"]) == (2, True)
    rest = api.get(f"{path}?after={first['last_id']}").json()
    assert (len(rest["data"]), rest["has_more"]) == (1, False)


def test_reading_answers_is_in_the_audit_log_once_for_each_key(
    make_batch: MakeBatch, team: Team, owner: User, viewer: User
) -> None:
    batch = answered(make_batch, [0, 2, 4, 1, 3])
    empty = make_batch()
    first, second = api_client(owner, team), api_client(viewer, team)
    for api in (first, first, second):
        for one, query in ((batch, "?limit=2"), (batch, "?after=2"), (empty, "")):
            assert results(api, one, query).status_code == 200
    noted = AuditEvent.objects.filter(action="batch.results").order_by("pk")
    assert [(e.actor, e.target) for e in noted] == [
        (owner, batch.public_id),
        (viewer, batch.public_id),
    ]
    assert words(noted[0]) == f"read answers of the batch {batch.public_id}"


def test_reading_the_validation_report_is_in_the_audit_log(
    api: APIClient, make_batch: MakeBatch, make_file: MakeFile, client: Client
) -> None:
    batch = make_batch(input_file=make_file(b"x\n"))
    stages.attend_batch(batch.pk)
    assert batch.owner is not None
    client.force_login(batch.owner)
    for _ in range(2):
        b"".join(api.get(f"/v1/batches/{batch.public_id}/validation_errors"))
        r = client.get(f"/batches/{batch.public_id}/error-report/")
        assert r.status_code == 200
        b"".join(r)
    noted = AuditEvent.objects.filter(action="batch.validation_errors")
    assert [e.target for e in noted] == [batch.public_id] * 2


@pytest.mark.parametrize("what", ["results", "events", "validation_errors"])
def test_viewers_may_look_and_strangers_see_nothing(
    make_batch: MakeBatch,
    make_file: MakeFile,
    team: Team,
    other_team: Team,
    viewer: User,
    stranger: User,
    what: str,
) -> None:
    batch = make_batch(input_file=make_file(b"x\n"))
    stages.attend_batch(batch.pk)
    path = f"/v1/batches/{batch.public_id}/{what}"
    r = api_client(viewer, team).get(path)
    assert r.status_code == 200
    assert isinstance(b"".join(r), bytes)
    assert error_of(api_client(stranger, other_team).get(path)) == (404, None, None)
    assert not Result.objects.exists()
