# SPDX-License-Identifier: Apache-2.0
"""Rubrics in the browser: written, previewed, versioned, imported and exported."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from batchsite.accounts.models import User
from curation import ready
from curation.models import Rubric, RubricVersion
from curation.questions import read
from curation.web.rubric_form import cards_of, questions_of

from .conftest import GOOD_OR_BAD, MakeQueue

pytestmark = pytest.mark.django_db
LABEL = {
    "name": "Mine",
    "count": "1",
    "q0-title": "Is it right?",
    "q0-type": "label",
    "q0-required": "1",
    "q0-options": "yes | Yes\nno | No | Says what is not so | n",
    "act": "save",
}


@pytest.fixture
def ann(curators: list[User], client: Client) -> User:
    client.force_login(curators[0])
    return curators[0]


@pytest.mark.parametrize("one", ready.READY, ids=lambda one: str(one.slug))
def test_the_form_keeps_each_ready_rubric_as_it_is(one: ready.Ready) -> None:
    questions = read("questions", list(one.questions))
    assert questions_of(cards_of(questions)) == questions


def test_a_rubric_is_written(client: Client, ann: User) -> None:
    assert client.get("/rubrics/new/").status_code == 200

    r = client.post("/rubrics/new/", LABEL)

    rubric = Rubric.objects.get()
    assert r["Location"] == f"/rubrics/{rubric.public_id}/"
    (question,) = rubric.latest.questions
    assert (question.key, question.required) == ("is_it_right", True)
    assert question.as_json()["options"] == [
        {"value": "yes", "title": "Yes"},
        {"value": "no", "title": "No", "help": "Says what is not so", "key": "n"},
    ]
    page = client.get(r["Location"]).content.decode()
    assert "no | No | Says what is not so | n" in page
    # As reviewers see it.
    assert 'name="a-is_it_right" value="no"' in page


def test_what_is_wrong_is_said_at_its_question(client: Client, ann: User) -> None:
    data = LABEL | {
        "count": "2",
        "q1-title": "How good?",
        "q1-type": "rating",
        "q1-min": "5",
        "q1-max": "2",
    }

    page = client.post("/rubrics/new/", data).content.decode()

    assert "Nothing was saved yet" in page
    assert "max: it is not more than" in page
    assert "How good?" in page
    assert not Rubric.objects.exists()
    data["q1-max"] = "many"
    assert "expected a number" in client.post("/rubrics/new/", data).content.decode()
    data |= {"q1-type": "correction", "q1-format": "json", "q1-schema": "{"}
    assert "it is no JSON" in client.post("/rubrics/new/", data).content.decode()


def test_cards_are_added_moved_and_removed(client: Client, ann: User) -> None:
    def cards(data: dict[str, Any]) -> list[str]:
        r = client.post("/rubrics/new/", data, headers={"HX-Request": "true"})
        page = r.content.decode()
        assert "<!doctype" not in page
        count = int(page.split('name="count" value="')[1].split('"')[0])
        return [
            page.split(f'name="q{n}-title" value="')[1].split('"')[0]
            for n in range(count)
        ]

    two = LABEL | {"count": "2", "q1-title": "Second", "q1-type": "text"}
    assert cards(two | {"act": "add"}) == ["Is it right?", "Second", ""]
    assert cards(two | {"act": "up-1"}) == ["Second", "Is it right?"]
    assert cards(two | {"act": "down-0"}) == ["Second", "Is it right?"]
    assert cards(two | {"act": "remove-0"}) == ["Second"]
    assert cards(two | {"act": "up-9"}) == ["Is it right?", "Second"]
    assert not Rubric.objects.exists()


def test_the_preview_shows_questions_or_what_is_in_the_way(
    client: Client, ann: User
) -> None:
    page = client.post("/rubrics/preview/", LABEL).content.decode()
    assert 'value="yes"' in page
    r = client.post("/rubrics/preview/", LABEL | {"q0-options": ""})
    assert "questions[0].options" in r.content.decode()


def test_a_used_rubric_gets_another_version(
    client: Client, ann: User, make_queue: MakeQueue, rubric: Rubric
) -> None:
    make_queue(0)
    path = f"/rubrics/{rubric.public_id}/"
    assert "What you change becomes version 2" in client.get(path).content.decode()

    client.post(path, LABEL | {"name": "Renamed"})

    rubric.refresh_from_db()
    assert rubric.name == "Renamed"
    assert [v.number for v in RubricVersion.objects.order_by("number")] == [1, 2]
    old = client.get(f"{path}?version=1").content.decode()
    assert "This is version 1, which stays as it is." in old
    assert '<fieldset class="form-all" disabled>' in old
    assert client.get(f"{path}?version=3").status_code == 404


def test_export_and_import(client: Client, ann: User, rubric: Rubric) -> None:
    r = client.get(f"/rubrics/{rubric.public_id}/export/")
    assert 'filename="good-or-bad-v1.json"' in r["Content-Disposition"]
    said = r.json() | {"name": "From elsewhere"}

    def send(content: bytes) -> str:
        file = SimpleUploadedFile("r.json", content)
        return client.post(
            "/rubrics/import/", {"file": file}, follow=True
        ).content.decode()

    assert "The rubric is imported." in send(json.dumps(said).encode())
    copied = Rubric.objects.get(name="From elsewhere")
    assert copied.latest.questions == read("q", GOOD_OR_BAD)
    assert "Not imported: The file is no JSON." in send(b"{")
    assert "the team has a rubric of this name" in send(json.dumps(said).encode())
    r = client.post("/rubrics/import/", follow=True)
    assert "Choose a file first." in r.content.decode()


def test_archived_rubrics_are_not_offered(
    client: Client, ann: User, rubric: Rubric
) -> None:
    path = f"/rubrics/{rubric.public_id}/"
    client.post(f"{path}archive/", {"archived": "1"})
    assert rubric.public_id not in client.get("/reviews/new/").content.decode()
    assert rubric.public_id in client.get("/rubrics/?state=archived").content.decode()
    client.post(f"{path}archive/", {"archived": "0"})
    assert rubric.public_id in client.get("/reviews/new/").content.decode()


def test_members_read_and_strangers_find_nothing(
    client: Client, teammate: User, stranger: User, rubric: Rubric
) -> None:
    path = f"/rubrics/{rubric.public_id}/"
    client.force_login(teammate)
    assert client.get(path).status_code == 200
    assert client.post(path, LABEL).status_code == 403
    assert client.get("/rubrics/new/").status_code == 403
    client.force_login(stranger)
    assert client.get(path).status_code == 404
    assert client.get(f"{path}export/").status_code == 404
