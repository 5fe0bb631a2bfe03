# SPDX-License-Identifier: Apache-2.0
"""Benchmarks by the API: each answer is as its description says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from benchmarks.models import Suite
from jobs.models import Batch
from tests.conftest import MakeFile
from tests.described import check
from tests.inputs import api_client

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
