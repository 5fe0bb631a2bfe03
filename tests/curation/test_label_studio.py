# SPDX-License-Identifier: Apache-2.0
"""Label Studio's tasks: out, in again, and what does not fit."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from curation import label_studio, queues, reviewing, rubrics
from curation.models import Claim, Response, ReviewQueue
from curation.questions import read
from curation.ready import READY
from jobs.refusals import Refused
from tests.conftest import MakeFile
from tests.described import check
from tests.inputs import api_client

from .conftest import GOOD, ORDER, WHICH, MakeQueue
from .test_reviewing import judge

pytestmark = pytest.mark.django_db
EVERYTHING: list[dict[str, Any]] = [
    {"key": "verdict", "type": "label", "title": "It is", "options": ["good", "bad"]},
    {"key": "what", "type": "multi_label", "title": "What?", "options": ["a", "b"]},
    {"key": "fair", "type": "boolean", "title": "Fair?"},
    {"key": "stars", "type": "rating", "title": "How good?"},
    {"key": "size", "type": "number", "title": "How long?"},
    {"key": "note", "type": "text", "title": "Why?"},
    {"key": "fixed", "type": "correction", "title": "Better"},
    {"key": "parts", "type": "spans", "title": "Mark", "options": ["odd"]},
]
ANSWERS: dict[str, Any] = {
    "verdict": "good",
    "what": ["a", "b"],
    "fair": False,
    "stars": 7,
    "size": 1.5,
    "note": "because",
    "fixed": "better",
    "parts": [{"start": 0, "end": 6, "label": "odd"}],
}


@pytest.fixture
def queue(team: Team, make_queue: MakeQueue) -> ReviewQueue:
    asked = rubrics.create_rubric(
        team=team, name="All", questions=read("q", EVERYTHING), user=None
    )
    return make_queue(2, rubric_version=asked.latest, overlap=2)


def test_what_goes_out_comes_in_as_it_was(
    queue: ReviewQueue, curators: list[User]
) -> None:
    ann, bob = curators[:2]
    judge(queue, ann, ANSWERS)
    # Who may still judge sees nobody's judgement; who has judged sees all.
    blind = label_studio.tasks(queue, user=bob)
    assert [task["annotations"] for task in blind] == [[], []]
    out = list(label_studio.tasks(queue, user=ann))
    assert len(out) == 2
    assert out[0]["data"]["answer"] == "answer 0"
    assert "ask 0" in out[0]["data"]["request"]
    (annotation,) = out[0]["annotations"]
    kinds = {region["from_name"]: region["type"] for region in annotation["result"]}
    assert kinds == {
        **dict.fromkeys(("verdict", "what", "fair"), "choices"),
        "stars": "rating",
        "size": "number",
        "parts": "labels",
        **dict.fromkeys(("note", "fixed"), "textarea"),
    }
    assert annotation["result"][-1]["value"]["text"] == "answer"

    # The same once more is nothing new; as another person's it is a judgement.
    assert label_studio.take(queue, out, user=bob).taken == 0
    annotation["completed_by"] = {"email": bob.email.upper()}
    taken = label_studio.take(queue, out, user=ann)

    assert (taken.taken, taken.left) == (1, [])
    assert Response.objects.get(user=bob).answers == ANSWERS
    assert queue.items.get(state="awaiting_resolution").submitted == 2


def test_the_configuration_is_sound_and_names_each_question(
    queue: ReviewQueue,
) -> None:
    view = ET.fromstring(label_studio.config(queue))
    asked = {tag.get("name") for tag in view if tag.get("toName")}
    assert asked == {one["key"] for one in EVERYTHING}
    assert {tag.get("toName") for tag in view if tag.get("toName")} == {"answer"}
    choices = [tag.get("value") for tag in view.iter("Choice")]
    assert choices == ["good", "bad", "a", "b", "yes", "no"]


@pytest.mark.parametrize("slug", [one.slug for one in READY if one.kind != "ranking"])
def test_each_ready_rubric_has_a_configuration(
    team: Team, make_queue: MakeQueue, slug: str
) -> None:
    one = next(one for one in READY if one.slug == slug)
    asked = rubrics.create_rubric(
        team=team, name="R", questions=read("q", list(one.questions)), user=None
    )
    queue = make_queue(0, kind=one.kind, rubric_version=asked.latest)
    assert ET.fromstring(label_studio.config(queue)).tag == "View"


def test_pairs_go_out_and_rankings_do_not(
    team: Team, make_queue: MakeQueue, answered: Any, owner: User
) -> None:
    def of(kind: str, questions: Any) -> ReviewQueue:
        asked = rubrics.create_rubric(
            team=team, name=kind, questions=read("q", questions), user=None
        )
        return make_queue(0, kind=kind, rubric_version=asked.latest)

    pairs = of("pairwise", WHICH)
    one = answered("red")
    two = answered("blue", input_file=one.input_file)
    queues.add_items(queue=pairs, subjects=queues.same_requests([one, two]), user=None)
    (task,) = label_studio.tasks(pairs, user=owner)
    assert (task["data"]["answer_a"], task["data"]["answer_b"]) == ("red", "blue")
    with pytest.raises(Refused, match="no rankings"):
        label_studio.config(of("ranking", ORDER))


def test_what_does_not_fit_is_named_and_the_rest_is_taken(
    queue: ReviewQueue, curators: list[User]
) -> None:
    ann = curators[0]
    work = reviewing.next_work(queue=queue, user=ann)
    assert work is not None
    code = work.item.public_id

    def task(result: Any, **data: Any) -> dict[str, Any]:
        facts = {"batchsite_item": code, "batchsite_version": 1, **data}
        return {"data": facts, "annotations": [{"result": result}]}

    bad = [
        task([], batchsite_item="item_none"),
        task([], batchsite_version=7),
        task([{"from_name": "stars", "value": {"rating": 99}}]),
        task([{"from_name": "verdict", "value": {"choices": "x"}}, 5, {}]),
        task([{"from_name": "size", "value": {"number": 10**400}}]),
        {"data": 5, "annotations": [{"result": []}]},
        {"annotations": 3},
        {"data": {}, "annotations": [{"was_cancelled": True}, "x"]},
    ]
    taken = label_studio.take(queue, bad, user=ann)
    assert taken.taken == 0
    assert len(taken.left) == 6
    assert "names no item of this queue" in taken.left[0]
    assert not Response.objects.submitted().exists()
    # Nobody holds another item, and none is held in another's name.
    assert Claim.objects.count() == 1
    for text in ("\0", "\ud800"):
        with pytest.raises(Refused, match="NUL"):
            label_studio.take(queue, [task(text)], user=ann)
    nothing: list[Any] = [{}, [1], "x"]
    for content in nothing:
        with pytest.raises(Refused, match="array of tasks"):
            label_studio.take(queue, content, user=ann)


def test_in_the_browser_and_by_the_api(
    client: Client,
    make_queue: MakeQueue,
    curators: list[User],
    team: Team,
    make_file: MakeFile,
) -> None:
    queue = make_queue(1, overlap=2)
    judge(queue, curators[0], GOOD)
    client.force_login(curators[0])
    path = f"/reviews/{queue.public_id}/label-studio/"
    r = client.get(path)
    tasks = json.loads(r.getvalue())
    assert 'filename="label-studio-tasks.json"' in r["Content-Disposition"]
    assert "<Choices" in client.get(f"{path}?part=config").content.decode()
    tasks[0]["annotations"][0]["completed_by"] = 3
    client.force_login(curators[1])

    def send(content: bytes) -> str:
        file = SimpleUploadedFile("x.json", content)
        r = client.post(f"{path}take/", {"file": file}, follow=True)
        return r.content.decode()

    assert "the file is no JSON" in send(b"{")
    assert "1 judgement taken." in send(json.dumps(tasks).encode())
    assert Response.objects.get(user=curators[1]).answers == GOOD

    api: APIClient = api_client(curators[2], team)
    base = f"/v1/curation/queues/{queue.public_id}/label_studio"
    told: Any = api.get(f"{base}/tasks")
    content = check(told)
    assert len(json.loads(content)[0]["annotations"]) == 2
    told = api.get(f"{base}/config")
    assert check(told).startswith(b"<View>")
    file = make_file(content, purpose="user_data")
    told = api.post(f"{base}/tasks", {"file_id": file.public_id}, format="json")
    check(told)
    assert told.json() == {"object": "curation.import", "taken": 0, "left": []}
