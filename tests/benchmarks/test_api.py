# SPDX-License-Identifier: Apache-2.0
"""Benchmarks by the API: each answer is as its description says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from benchmarks import running
from benchmarks.models import Cell, Suite
from jobs.models import Batch, ServedModel
from tests.conftest import MakeFile
from tests.described import check
from tests.inputs import api_client
from tests.web.benchmark_rows import answer

pytestmark = pytest.mark.django_db
BASE = "/v1/benchmarks"
Answered = Callable[..., Batch]


@pytest.fixture
def ann(teammate: User, team: Team) -> APIClient:
    """A member's key."""
    return api_client(teammate, team)


def post(client: APIClient, path: str, body: Any, *, status: int = 200) -> Any:
    """Call, check the answer against its description, and give back what it says."""
    r = client.post(f"{BASE}{path}", body, format="json")
    assert r.status_code == status, r.content
    check(r)
    return r.json()


def get(client: APIClient, path: str, query: Any = None, *, status: int = 200) -> Any:
    r = client.get(f"{BASE}{path}", query or {})
    assert r.status_code == status, r.content
    check(r)
    return r.json()


def test_a_suite_that_ships(ann: APIClient) -> None:
    suite = post(ann, "/suites", {"name": "Sums", "ready": "arithmetic"})
    assert (suite["version"], suite["items"]) == (1, 40)
    assert suite["metrics"] == [{"kind": "numeric", "name": "numeric", "params": {}}]
    assert suite["source"] == {"kind": "ready", "ready": "arithmetic"}
    path = f"/suites/{suite['id']}"
    assert get(ann, path) == suite
    assert get(ann, "/suites")["data"] == [suite]

    page = get(ann, f"{path}/items", {"limit": 30})
    assert (len(page["data"]), page["has_more"]) == (30, True)
    first = page["data"][0]
    assert first["reference"] == 42
    assert first["metrics"] == suite["metrics"]
    rest = get(ann, f"{path}/items", {"limit": 30, "after": page["last_id"]})
    assert (len(rest["data"]), rest["has_more"]) == (10, False)
    for after in ("odd", "\0"):
        get(ann, f"{path}/items", {"after": after}, status=400)

    assert post(ann, path, {"archived": True})["archived"] is True
    assert post(ann, path, {})["archived"] is True
    assert post(ann, path, {"archived": False})["archived"] is False


def test_versions_come_of_files_and_are_exported(
    ann: APIClient, make_file: MakeFile
) -> None:
    file = make_file(b'{"input": "2 + 2?", "reference": 4}\n')
    made = {"name": "Mine", "file_id": file.public_id, "metrics": ["exact"]}
    suite = post(ann, "/suites", made)
    assert suite["source"]["sha256"] == file.sha256
    path = f"/suites/{suite['id']}"
    again = post(
        ann, f"{path}/versions", {"file_id": file.public_id, "metrics": ["exact"]}
    )
    assert again["version"] == 1
    more = make_file(b'{"input": "2 + 2?", "reference": 4}\n{"input": "3 + 3?"}\n')
    newer = post(ann, f"{path}/versions", {"file_id": more.public_id})
    assert (newer["version"], newer["items"], newer["metrics"]) == (2, 2, [])
    assert get(ann, path, {"version": 1})["items"] == 1
    get(ann, path, {"version": 3}, status=400)

    r = ann.get(f"{BASE}{path}/export", {"version": 1})
    (line,) = b"".join(r.streaming_content).splitlines()  # type: ignore[attr-defined]  # of a streaming answer
    assert r["Content-Type"] == "application/jsonl"
    assert json.loads(line)["reference"] == 4


def test_rows_of_a_batch_are_replayed(ann: APIClient, answered: Answered) -> None:
    batch = answered("first", "second", "third", model="tiny")
    asked = {"batch_id": batch.public_id, "metrics": ["token_f1"]}
    suite = post(ann, "/suites", {"name": "Replay", **asked})
    assert suite["items"] == 3
    assert suite["source"]["model"] == "tiny"
    (item, *_) = get(ann, f"/suites/{suite['id']}/items")["data"]
    assert item["reference"] == "first"
    one = post(
        ann,
        f"/suites/{suite['id']}/versions",
        {
            **asked,
            "most": 1,
            "with_reference": False,
            "filter": {"words": "second"},
        },
    )
    assert (one["items"], one["version"]) == (1, 2)
    refused = post(
        ann,
        "/suites",
        {**asked, "name": "n", "filter": {"check": "valid:failed"}},
        status=400,
    )
    assert refused["error"]["param"] == "filter.check"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"ready": "arithmetic"}, "name"),
        ({"name": "n"}, "file_id"),
        ({"name": "n", "ready": "odd"}, "ready"),
        ({"name": "n", "ready": "arithmetic", "file_id": "x"}, "ready"),
        ({"name": "n", "file_id": "file-none"}, "file_id"),
        ({"name": "n", "batch_id": "batch_none"}, "batch_id"),
        ({"name": "n", "ready": "arithmetic", "metrics": ["odd"]}, "metrics[0].kind"),
        ({"name": "n", "ready": "arithmetic", "odd": 1}, "odd"),
    ],
)
def test_what_is_wrong_is_named(ann: APIClient, body: Any, param: str) -> None:
    assert post(ann, "/suites", body, status=400)["error"]["param"] == param
    assert not Suite.objects.exists()


def test_a_bad_line_is_named(ann: APIClient, make_file: MakeFile) -> None:
    file = make_file(b'{"input": "a"}\n{"odd": 1}\n')
    made = {"name": "Mine", "file_id": file.public_id}
    error = post(ann, "/suites", made, status=400)["error"]
    assert error["message"].startswith("Line 2: Invalid 'odd'")


def test_a_run_from_its_start_to_a_comparison(
    ann: APIClient, sums: Suite, models: list[str]
) -> None:
    asked = {
        "suite_id": sums.public_id,
        "models": models,
        "variants": [{"name": "greedy", "body": {"temperature": 0}}],
    }
    run = post(ann, "/runs", asked)
    assert (run["state"], run["suite_version"]) == ("running", 1)
    assert [cell["state"] for cell in run["cells"]] == ["waiting"] * 2
    path = f"/runs/{run['id']}"
    running.work()
    small, large = Cell.objects.order_by("position")
    answer(small, "2", "4", "60", "80")
    answer(large, "2", "5", "61", "81")
    running.work()
    done = get(ann, path)
    assert done["state"] == "done"
    assert done["cells"][1]["figures"]["metrics"]["numeric"]["mean"] == 0.25
    (listed,) = get(ann, "/runs")["data"]
    assert (
        listed["cells"][1]["figures"]["metrics"]
        == (done["cells"][1]["figures"]["metrics"])
    )
    assert "tags" in done["cells"][1]["figures"]
    assert "tags" not in listed["cells"][1]["figures"]

    found = get(ann, f"{path}/comparison")
    assert found["baseline"]["model"] == "small"
    (other,) = found["others"]
    compared = other["compared"]
    assert (other["model"], other["mean"]) == ("large", 0.25)
    assert (compared["difference"], compared["items"]) == (-0.75, 4)
    # McNemar's exact test of 3 to 0.
    assert compared["p"] == 0.25
    assert compared["verdict"] == "no significant difference"
    assert compared["worse"] == ["item-2", "item-3", "item-4"]
    assert (compared["worse_count"], compared["better"]) == (3, [])
    turned = get(ann, f"{path}/comparison", {"baseline": 1, "metric": "numeric"})
    assert turned["others"][0]["compared"]["better_count"] == 3
    nothing = get(ann, f"{path}/comparison", {"metric": "odd"})
    assert nothing["others"][0]["compared"] is None
    assert nothing["baseline"]["mean"] is None
    get(ann, f"{path}/comparison", {"baseline": 9}, status=400)

    post(ann, f"{path}/cancel", None, status=409)
    post(ann, f"{path}/resume", None, status=409)
    again = post(ann, f"{path}/rerun", None)
    assert (again["rerun_of"], again["state"]) == (run["id"], "running")
    ended = post(ann, f"/runs/{again['id']}/cancel", None)
    assert ended["state"] == "cancelled"
    assert post(ann, f"/runs/{again['id']}/resume", None)["state"] == "running"


@pytest.mark.parametrize(
    ("over", "param"),
    [
        ({"suite_id": "odd"}, "suite_id"),
        ({"suite_version": 9}, "suite_version"),
        ({"models": ["odd"]}, "models[0]"),
        ({"models": None}, "models"),
        ({"repeats": 21}, "repeats"),
        (
            {"variants": [{"name": "a", "body": {"model": "b"}}]},
            "variants[0].body.model",
        ),
        ({"odd": 1}, "odd"),
    ],
)
def test_what_is_wrong_with_a_run_is_named(
    ann: APIClient, sums: Suite, models: list[str], over: Any, param: str
) -> None:
    asked = {"suite_id": sums.public_id, "models": models}
    assert post(ann, "/runs", asked | over, status=400)["error"]["param"] == param


def test_a_key_reads_no_more_by_a_suite(
    team: Team, teammate: User, answered: Answered, make_file: MakeFile
) -> None:
    batch, file = answered("secret"), make_file(b'{"input": "a"}\n')
    narrow = api_client(teammate, team, scopes=["benchmarks:write"])
    for body, lacks in (
        ({"batch_id": batch.public_id}, "batches:read"),
        ({"file_id": file.public_id}, "files:read"),
    ):
        error = post(narrow, "/suites", {"name": "n", **body}, status=403)["error"]
        assert lacks in error["message"]
    assert post(narrow, "/suites", {"name": "n", "ready": "extraction"})["items"] == 30


def test_other_teams_and_readers(
    ann: APIClient, stranger: User, other_team: Team, viewer: User, team: Team
) -> None:
    suite = post(ann, "/suites", {"name": "Sums", "ready": "arithmetic"})
    theirs = api_client(stranger, other_team)
    get(theirs, f"/suites/{suite['id']}", status=404)
    assert get(theirs, "/suites")["data"] == []
    reads = api_client(viewer, team)
    assert get(reads, f"/suites/{suite['id']}") == suite
    post(reads, "/suites", {"name": "n", "ready": "arithmetic"}, status=403)
    ServedModel.objects.create(name="small", source="small")
    asked = {"suite_id": suite["id"], "models": ["small"]}
    run = post(ann, "/runs", asked)
    assert get(reads, f"/runs/{run['id']}") == run
    post(reads, "/runs", asked, status=403)
    get(theirs, f"/runs/{run['id']}", status=404)
    post(theirs, "/runs", asked, status=400)
