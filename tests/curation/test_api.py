# SPDX-License-Identifier: Apache-2.0
"""Curation by the API: each answer is as its description says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from curation import building, feeding
from curation.models import (
    Candidate,
    Claim,
    Dataset,
    Feed,
    ItemVersion,
    JudgeRun,
    ReviewItem,
    ReviewQueue,
    Rubric,
)
from jobs.models import Batch
from tests.described import check
from tests.inputs import api_client
from tests.web.curation_rows import judge_says

from .conftest import BAD, GOOD, GOOD_OR_BAD, MakeQueue
from .test_reviewing import judge

pytestmark = pytest.mark.django_db
BASE = "/v1/curation"
Answered = Callable[..., Batch]


@pytest.fixture
def ann(curators: list[User], team: Team) -> APIClient:
    """A curator's key."""
    return api_client(curators[0], team)


def post(client: APIClient, path: str, body: Any = None, *, status: int = 200) -> Any:
    """Call, check the answer against its description, and give back what it says."""
    r = client.post(f"{BASE}{path}", {} if body is None else body, format="json")
    assert r.status_code == status, r.content
    check(r)
    return r.json()


def get(client: APIClient, path: str, query: Any = None, *, status: int = 200) -> Any:
    r = client.get(f"{BASE}{path}", query or {})
    assert r.status_code == status, r.content
    check(r)
    return r.json()


def test_rubrics_are_made_changed_and_listed(ann: APIClient, team: Team) -> None:
    made = post(ann, "/rubrics", {"name": "Verdict", "questions": GOOD_OR_BAD})
    assert (made["version"], made["used"], made["archived"]) == (1, False, False)
    assert [q["key"] for q in made["questions"]] == ["verdict", "note"]
    path = f"/rubrics/{made['id']}"
    queue = post(ann, "/queues", {"name": "q", "rubric_id": made["id"]})
    assert queue["rubric_version"] == 1

    changed = post(ann, path, {"questions": GOOD_OR_BAD[:1], "name": "Other"})

    assert (changed["version"], changed["name"]) == (2, "Other")
    assert get(ann, path, {"version": 1})["questions"] == made["questions"]
    assert post(ann, path, {"archived": True})["archived"] is True
    assert [r["id"] for r in get(ann, "/rubrics")["data"]] == [made["id"]]
    error = get(ann, path, {"version": 9}, status=400)["error"]
    assert error["param"] == "version"
    assert Rubric.objects.get().team == team


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": "a", "questions": []}, "questions"),
        (
            {"name": "a", "questions": [{"key": "a", "type": "b", "title": "c"}]},
            "questions[0].type",
        ),
        ({"name": "a", "questions": GOOD_OR_BAD, "more": 1}, "more"),
    ],
)
def test_what_is_wrong_is_named(ann: APIClient, body: Any, param: str) -> None:
    assert post(ann, "/rubrics", body, status=400)["error"]["param"] == param


def test_queues_are_made_changed_and_listed(
    ann: APIClient, rubric: Rubric, curators: list[User]
) -> None:
    due = int(timezone.now().timestamp()) + 86_400
    made = post(
        ann,
        "/queues",
        {
            "name": "Nightly",
            "rubric_id": rubric.public_id,
            "overlap": 2,
            "auto_resolve": "majority",
            "blind_others": False,
            "assignees": [curators[1].email],
            "due_at": due,
            "guidelines": "Read.",
        },
    )
    assert (made["overlap"], made["blind_others"], made["due_at"]) == (2, False, due)
    assert made["assignees"] == [curators[1].email]
    path = f"/queues/{made['id']}"

    changed = post(ann, path, {"state": "paused", "due_at": None, "assignees": []})

    assert (changed["state"], changed["due_at"]) == ("paused", None)
    assert changed["assignees"] == []
    assert get(ann, path) == changed
    assert get(ann, "/queues")["data"] == [changed]
    for body, param in (
        ({"overlap": 0}, "overlap"),
        ({"skips": "never"}, "skips"),
        ({"assignees": ["nobody@example.com"]}, "assignees[0]"),
        ({"due_at": "soon"}, "due_at"),
        ({"kind": "pairwise"}, "kind"),
    ):
        assert post(ann, path, body, status=400)["error"]["param"] == param
    error = post(ann, "/queues", {"name": "n", "rubric_id": "no"}, status=400)["error"]
    assert error["param"] == "rubric_id"


def test_answers_are_sent_and_judged(
    ann: APIClient, make_queue: MakeQueue, answered: Answered, curators: list[User]
) -> None:
    queue, batch = make_queue(0), answered("first", "second")
    path = f"/queues/{queue.public_id}"

    fed = post(ann, f"{path}/feeds", {"batch_id": batch.public_id, "rows": [0, 1]})
    assert fed["state"] == "waiting"
    feeding.run()
    (fed,) = get(ann, f"{path}/feeds")["data"]
    assert (fed["state"], fed["added"]) == ("done", 2)

    work = post(ann, f"{path}/next")["work"]
    assert work["answers"][0]["model"] is None
    assert "first" in str(work["answers"][0]["body"])
    # The bodies do not say it either.
    ItemVersion.objects.update(request_body='{"model": "secret", "messages": []}')
    Candidate.objects.update(
        body='{"model": "secret", "id": "x", "choices": [{"message": {"content": "a"}}]}'
    )
    assert "secret" not in str(post(ann, f"{path}/next")["work"])
    said = post(ann, f"/items/{work['id']}/responses", {"answers": GOOD, "seconds": 3})
    assert (said["state"], said["user"]) == ("submitted", curators[0].email)
    item = get(ann, f"/items/{work['id']}")
    assert (item["state"], item["resolution"]["how"]) == ("completed", "single")
    assert item["resolution"]["answers"] == GOOD
    assert get(ann, path)["item_counts"] == {
        "total": 2,
        "waiting": 1,
        "to_decide": 0,
        "done": 1,
    }
    back = post(ann, f"{path}/undo")
    assert (back["id"], back["state"]) == (work["id"], "in_progress")
    draft = post(
        ann,
        f"/items/{work['id']}/responses",
        {"answers": {}, "state": "draft"},
    )
    assert draft["state"] == "draft"
    skipped = post(ann, f"/items/{work['id']}/skip", {"reason": "no"})
    assert skipped["id"] == work["id"]
    other = post(ann, f"{path}/next")["work"]
    assert other["id"] != work["id"]
    post(ann, f"/items/{other['id']}/responses", {"answers": GOOD})
    assert post(ann, f"{path}/next")["work"] is None


def test_what_cannot_be_judged_just_now_is_409_and_not_tried_again(
    ann: APIClient, make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1)
    path = f"/queues/{queue.public_id}"
    work = post(ann, f"{path}/next")["work"]
    Claim.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    judge(queue, curators[1], GOOD)

    r = ann.post(
        f"{BASE}/items/{work['id']}/responses", {"answers": BAD}, format="json"
    )

    assert r.status_code == 409
    assert r["x-should-retry"] == "false"
    check(r)
    error = post(
        ann, f"/items/{work['id']}/responses", {"answers": {"x": 1}}, status=400
    )["error"]
    assert error["param"] == "answers.x"


def test_who_may_not_judge_an_item_is_told(
    ann: APIClient, make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1, assignees=[curators[1]])
    error = post(ann, f"/queues/{queue.public_id}/next", status=403)["error"]
    assert "not one of the reviewers" in error["message"]


def test_items_are_listed_changed_and_decided(
    ann: APIClient, make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(3, overlap=2)
    item = judge(queue, curators[1], GOOD)
    judge(queue, curators[2], BAD)
    path = f"/queues/{queue.public_id}/items"

    page = get(ann, path, {"limit": 2})
    assert (len(page["data"]), page["has_more"]) == (2, True)
    rest = get(ann, path, {"after": page["last_id"]})
    assert (len(rest["data"]), rest["has_more"]) == (1, False)
    (torn,) = get(ann, path, {"state": "awaiting_resolution"})["data"]
    assert (torn["id"], torn["severity"]) == (item.public_id, 1.0)
    assert get(ann, path, {"custom_id": torn["custom_id"]})["data"] == [torn]
    assert get(ann, path, {"flagged": "true"})["data"] == []
    get(ann, path, {"state": "odd"}, status=400)

    said = get(ann, f"/items/{item.public_id}/responses")["data"]
    assert [one["answers"] for one in said] == [GOOD, BAD]
    held = post(
        ann,
        f"/items/{item.public_id}/resolution",
        {"response_id": said[1]["id"], "note": "right"},
    )
    assert held["resolution"]["answers"] == BAD
    assert held["resolution"]["by"] == curators[0].email
    held = post(ann, f"/items/{item.public_id}/resolution", {"answers": GOOD})
    assert held["resolution"]["answers"] == GOOD
    r = ann.delete(f"{BASE}/items/{item.public_id}/resolution")
    assert r.json()["state"] == "awaiting_resolution"
    check(r)
    error = post(ann, f"/items/{item.public_id}/resolution", {}, status=400)["error"]
    assert error["param"] == "chosen"

    changed = post(
        ann,
        f"/items/{item.public_id}",
        {
            "priority": 5,
            "assigned_to": curators[3].email,
            "flagged": True,
            "flag_reason": "odd",
            "excluded": True,
        },
    )
    assert (changed["priority"], changed["state"]) == (5, "excluded")
    assert (changed["assigned_to"], changed["flag_reason"]) == (
        curators[3].email,
        "odd",
    )
    changed = post(
        ann,
        f"/items/{item.public_id}",
        {"assigned_to": None, "flagged": False, "excluded": False},
    )
    assert (changed["assigned_to"], changed["flagged"]) == (None, False)
    assert changed["state"] == "awaiting_resolution"


def test_judgements_of_others_are_hidden_from_who_is_to_judge(
    ann: APIClient, make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1, overlap=2)
    item = judge(queue, curators[1], GOOD)
    path = f"/items/{item.public_id}/responses"
    assert get(ann, path)["data"] == []
    post(ann, f"/queues/{queue.public_id}/next")
    post(ann, path, {"answers": GOOD})
    assert len(get(ann, path)["data"]) == 2


def test_agreement(ann: APIClient, make_queue: MakeQueue, curators: list[User]) -> None:
    queue = make_queue(4, overlap=2)
    path = f"/queues/{queue.public_id}/agreement"
    (question,) = get(ann, path)["questions"]
    assert (question["items"], question["alpha"]) == (0, None)
    for answers in (GOOD, BAD, GOOD, BAD):
        for person in curators[:2]:
            judge(queue, person, answers)
    found = get(ann, path)
    assert found["questions"][0]["alpha"] == 1.0
    assert found["reviewers"][0]["judged"] == 4


def test_datasets(ann: APIClient, make_queue: MakeQueue, curators: list[User]) -> None:
    queue = make_queue(2)
    for answers in (GOOD, BAD):
        judge(queue, curators[0], answers)
    made = post(ann, "/datasets", {"name": "mails"})
    assert made["versions"] == []
    path = f"/datasets/{made['id']}"

    asked = post(
        ann,
        f"{path}/versions",
        {
            "queue_ids": [queue.public_id],
            "format": "sft",
            "accept": {"verdict": ["good"]},
        },
    )

    assert (asked["state"], asked["version"]) == ("waiting", None)
    assert get(ann, path)["builds"] == [asked]
    building.run()
    built = get(ann, path)
    assert built["builds"] == []
    (version,) = built["versions"]
    assert (version["version"], version["rows"]) == (1, 1)
    assert version["manifest"]["accept"] == {"verdict": ["good"]}
    assert get(ann, "/datasets")["data"] == [built]
    for body, param in (
        ({"queue_ids": [], "format": "sft"}, "queues"),
        ({"queue_ids": ["no"], "format": "sft"}, "queue_ids[0]"),
        ({"queue_ids": [queue.public_id], "format": "odd"}, "format"),
    ):
        error = post(ann, f"{path}/versions", body, status=400)["error"]
        assert error["param"] == param
    assert Dataset.objects.count() == 1


def test_rules(ann: APIClient, make_queue: MakeQueue) -> None:
    queue = make_queue(0)
    path = f"/queues/{queue.public_id}/rules"

    made = post(
        ann,
        path,
        {"model": "tiny", "filter": {"check": "valid:failed"}, "how": "all"},
    )

    assert (made["model"], made["how"], made["most"]) == ("tiny", "all", 100)
    assert made["filter"]["check"] == "valid:failed"
    assert get(ann, path)["data"] == [made]
    for body, param in (
        ({"filter": {"check": "valid"}}, "check"),
        ({"filter": {"odd": "a"}}, "filter.odd"),
        ({"how": "disagreement"}, "how"),
        ({"most": 0}, "most"),
        ({"model": "a" * 201}, "model"),
    ):
        assert post(ann, path, body, status=400)["error"]["param"] == param
    r = ann.delete(f"{BASE}/rules/{made['id']}")
    check(r)
    assert r.json() == {
        "id": made["id"],
        "object": "curation.rule",
        "deleted": True,
    }
    assert get(ann, path)["data"] == []
    assert ann.delete(f"{BASE}/rules/{made['id']}").status_code == 404


def test_a_judge_model(
    ann: APIClient, make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(3)
    for answers in (GOOD, BAD):
        judge(queue, curators[0], answers)
    path = f"/queues/{queue.public_id}/judge_runs"

    asked = post(ann, path, {"model": "tiny", "words": "German mails are fine."})

    assert (asked["items"], asked["standing"]) == (2, None)
    run = JudgeRun.objects.get()
    assert asked["batch_id"] == run.batch.public_id
    judge_says(run, '{"verdict": "good"}', '{"verdict": "good"}')
    found = get(ann, f"/judge_runs/{asked['id']}")["standing"]
    assert (found["read"], found["unreadable"]) == (2, 0)
    (verdict,) = found["questions"]
    assert (verdict["key"], verdict["items"], verdict["percent"]) == ("verdict", 2, 0.5)
    good = next(one for one in verdict["labels"] if one["label"] == "good")
    assert (good["people"], good["judge"], good["precision"]) == (1, 2, 0.5)

    newer = post(ann, path, {"model": "tiny", "most": 1})
    assert newer["items"] == 1
    assert [one["id"] for one in get(ann, path)["data"]] == [newer["id"], asked["id"]]
    rest = get(ann, path, {"after": newer["id"]})
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (
        [asked["id"]],
        False,
    )
    for body, param in (
        ({}, "model"),
        ({"model": "tiny", "most": 0}, "most"),
        ({"model": "tiny", "words": 5}, "words"),
    ):
        assert post(ann, path, body, status=400)["error"]["param"] == param
    assert get(ann, path, {"after": "odd"}, status=400)["error"]["param"] == "after"
    for unknown in ("judgerun_0", "judgerun_x", "judgerun_" + "9" * 30):
        get(ann, f"/judge_runs/{unknown}", status=404)


def test_other_teams_and_readers(
    stranger: User,
    other_team: Team,
    viewer: User,
    team: Team,
    make_queue: MakeQueue,
) -> None:
    queue = make_queue(1)
    item = queue.items.get()
    theirs = api_client(stranger, other_team)
    get(theirs, f"/queues/{queue.public_id}", status=404)
    post(theirs, f"/items/{item.public_id}", {"priority": 1}, status=404)
    get(theirs, f"/rubrics/{queue.rubric_version.rubric.public_id}", status=404)
    reads = api_client(viewer, team)
    assert get(reads, f"/items/{item.public_id}")["gold"] is None
    post(reads, f"/items/{item.public_id}", {"priority": 1}, status=403)
    post(reads, f"/queues/{queue.public_id}/next", status=403)
    assert ReviewItem.objects.get().priority == 0
    assert (ReviewQueue.objects.count(), Feed.objects.count()) == (1, 0)
