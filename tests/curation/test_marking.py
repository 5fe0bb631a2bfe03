# SPDX-License-Identifier: Apache-2.0
"""Stars, qualities, tags and notes on answers; and datasets of what was marked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client

from batchsite.accounts.models import Team, User
from curation import datasets, marking
from curation.models import DatasetVersion, Mark
from curation.specs import Spec
from jobs.models import Batch, Result
from jobs.refusals import Refused
from tests.described import check
from tests.inputs import api_client

pytestmark = pytest.mark.django_db


def answers(batch: Batch) -> list[Result]:
    return list(batch.results.order_by("index"))


def test_what_is_not_named_stays_and_a_mark_of_nothing_goes(
    answered: Any, curators: list[User]
) -> None:
    (result,) = answers(answered("a"))

    def mark(**changes: Any) -> Mark | None:
        return marking.mark(result=result, user=curators[0], changes=changes)

    assert mark(starred=True, quality=8, tags=["x ", "y", "x"], note=" so ") is not None
    mark(starred=False)
    found = Mark.objects.get()
    assert (found.starred, found.quality, found.tags, found.note) == (
        False,
        8,
        ["x", "y"],
        "so",
    )
    assert mark(quality=None, tags=[], note="") is None
    assert not Mark.objects.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"starred": 1}, "starred"),
        ({"quality": 0}, "expected 1 to 10"),
        ({"quality": True}, "expected an integer"),
        ({"tags": "x"}, "expected an array"),
        ({"tags": [""]}, r"tags\[0\]"),
        ({"tags": [f"t{n}" for n in range(21)]}, "21 tags are given"),
        ({"note": "a\0b"}, "NUL"),
        ({"note": "x" * 5001}, "5,000 are allowed"),
    ],
)
def test_what_no_mark_can_be(answered: Any, changes: Any, words: str) -> None:
    (result,) = answers(answered("a"))
    with pytest.raises(Refused, match=words):
        marking.mark(result=result, user=None, changes=changes)
    assert not Mark.objects.exists()


def test_marks_are_made_beside_the_answer(
    client: Client, answered: Any, curators: list[User], viewer: User
) -> None:
    batch = answered("good one", "other")
    client.force_login(curators[0])
    path = f"/batches/{batch.public_id}/results/0/"
    assert "☆ star" in client.get(path).content.decode()

    r = client.post(f"{path}mark/", {"star": "1"}, headers={"HX-Request": "true"})
    assert "★ starred" in r.content.decode()
    r = client.post(
        f"{path}mark/", {"quality": "9", "tags": "fine, short", "note": "as I like it"}
    )
    assert r["Location"] == path
    found = Mark.objects.get()
    assert (found.starred, found.quality, found.tags) == (True, 9, ["fine", "short"])
    r = client.post(f"{path}mark/", {"tags": "x" * 60}, headers={"HX-Request": "true"})
    assert "printable characters" in r.content.decode()
    assert client.post(f"{path.replace('/0/', '/7/')}mark/").status_code == 404

    page = client.get("/marks/?starred=on&least=9&tag=fine").content.decode()
    assert "good one" in page
    assert "No mark is like that" in client.get("/marks/?least=10").content.decode()
    text = client.get("/marks/export/?tag=fine").getvalue().decode()
    assert '"as I like it"' in text
    client.force_login(viewer)
    page = client.get(path).content.decode()
    assert "quality 9 of 10" in page
    assert "Save the mark" not in page
    assert client.post(f"{path}mark/", {"star": "0"}).status_code == 403
    # Of an answer without one they see nothing.
    assert 'id="mark"' not in client.get(path.replace("/0/", "/1/")).content.decode()


def test_marks_by_the_api(answered: Any, curators: list[User], team: Team) -> None:
    batch = answered("a", "b")
    api = api_client(curators[0], team)
    body = {"batch_id": batch.public_id, "custom_id": "row-0", "starred": True}

    def post(body: Any, status: int = 200) -> Any:
        r = api.post("/v1/curation/marks", body, format="json")
        assert r.status_code == status
        check(r)
        return r.json()

    def listed(**query: Any) -> list[str]:
        r = api.get("/v1/curation/marks", query)
        check(r)
        return [one["custom_id"] for one in r.json()["data"]]

    assert post(body)["mark"]["starred"] is True
    post(body | {"custom_id": "row-1", "quality": 7, "tags": ["x"], "starred": False})
    assert listed() == ["row-1", "row-0"]
    assert listed(starred="true") == ["row-0"]
    assert listed(least=7, tag="x") == ["row-1"]
    first = Mark.objects.get(starred=False)
    assert listed(after=f"mark_{first.pk}") == ["row-0"]
    assert post(body | {"starred": False})["mark"] is None
    assert post(body | {"custom_id": "no"}, 400)["error"]["param"] == "custom_id"
    assert post(body | {"quality": 11}, 400)["error"]["param"] == "quality"


def test_marked_answers_become_a_dataset(
    answered: Any, team: Team, curators: list[User]
) -> None:
    batch = answered("poor", "fine", "great", "starred")
    marks: list[dict[str, Any]] = [
        *({"quality": quality} for quality in (3, 8, 10)),
        {"starred": True},
    ]
    for result, changes in zip(answers(batch), marks, strict=True):
        marking.mark(result=result, user=None, changes=changes)
    dataset = datasets.create_dataset(team=team, name="Marked", user=None)

    def build(**over: Any) -> DatasetVersion:
        spec = Spec(**{"format": "sft", **over})
        return datasets.build_version(
            dataset=dataset, queues=[], spec=spec, user=curators[0]
        )

    def lines(version: DatasetVersion) -> list[Any]:
        assert version.train_file is not None
        with default_storage.open(version.train_file.storage_name) as stored:
            return [json.loads(line) for line in stored]

    version = build(marks={"least": 8})
    said = [row["messages"][-1]["content"] for row in lines(version)]
    assert said == ["fine", "great"]
    assert version.manifest["marks"] == {"least": 8}
    assert version.manifest["lineage"]["batches"] == {batch.public_id: 2}
    assert build(marks={"starred": True}).rows == 1
    shown = lines(build(format="few_shot", marks={}, most=2))
    assert [row["output"] for row in shown] == ["great", "fine"]
    for over, words in (
        ({"format": "kto", "marks": {}}, "of marked answers there are"),
        ({"marks": {"least": 11}}, "expected 1 to 10"),
        ({"marks": {"stars": 1}}, "no mark has this"),
        ({"marks": {"tag": 5}}, "expected a string"),
        ({"marks": None}, "name a queue at least"),
    ):
        with pytest.raises(Refused, match=words):
            build(**over)


def test_marks_go_with_their_answer(answered: Any) -> None:
    batch = answered("a")
    (result,) = answers(batch)
    marking.mark(result=result, user=None, changes={"starred": True})
    Result.objects.filter(pk=result.pk).delete()
    assert not Mark.objects.exists()
