# SPDX-License-Identifier: Apache-2.0
"""Versions of datasets: what is in them, where it is from, and that they stay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from pytest_django import Settings
from rest_framework.test import APIClient

from batchsite.accounts.models import AuditEvent, Team, User
from curation import datasets, queues, resolving, sources
from curation.models import Dataset, DatasetVersion, ReviewItem, ReviewQueue
from curation.specs import Spec
from jobs.models import Batch, BatchFile
from jobs.refusals import Refused
from tests.jobs.kept import stored_files

from .conftest import BAD, GOOD, MakeQueue
from .test_reviewing import judge

pytestmark = pytest.mark.django_db
GOOD_ONLY = {"verdict": ["good"]}


@pytest.fixture
def dataset(team: Team, owner: User) -> Dataset:
    return datasets.create_dataset(team=team, name="mails", user=owner)


@pytest.fixture
def judged(make_queue: MakeQueue, curators: list[User]) -> ReviewQueue:
    """Six answers, of which two are bad, one is taken out and one is not judged."""
    queue = make_queue(6)
    for said in (GOOD, BAD, GOOD, GOOD, BAD):
        item = judge(queue, curators[0], said)
    ReviewItem.objects.filter(pk=queue.items.all()[3].pk).update(state="excluded")
    assert item.state == "completed"
    return queue


def build(dataset: Dataset, queue: ReviewQueue, **over: Any) -> DatasetVersion:
    spec = Spec(**{"format": "sft", "accept": GOOD_ONLY} | over)
    return datasets.build_version(dataset=dataset, queues=[queue], spec=spec, user=None)


def lines(file: BatchFile | None) -> list[dict[str, Any]]:
    assert file is not None
    with default_storage.open(file.storage_name) as stored:
        content = stored.read()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (
        file.bytes,
        file.sha256,
    )
    return [json.loads(line) for line in content.splitlines()]


def test_a_version_holds_what_was_good(
    dataset: Dataset, judged: ReviewQueue, api: APIClient
) -> None:
    version = build(dataset, judged)
    rows = lines(version.train_file)
    assert [row["messages"][-1]["content"] for row in rows] == ["answer 0", "answer 2"]
    assert (version.number, version.rows, version.test_rows) == (1, 2, 0)
    assert version.test_file is None
    manifest = version.manifest
    batch = Batch.objects.get()
    assert manifest["items"] == 4
    assert manifest["left_out"] == {"it is not good enough": 2}
    assert manifest["lineage"] == {
        "batches": {batch.public_id: 2},
        "models": {"tiny": 2},
    }
    assert manifest["queues"][0]["rubric_version"] == 1
    (file,) = manifest["files"]
    assert version.train_file
    assert (file["rows"], file["sha256"]) == (2, version.train_file.sha256)
    # It is a file of the team like others.
    code = version.train_file.public_id
    shown = api.get(f"/v1/files/{code}").json()
    assert (shown["purpose"], shown["bytes"]) == ("fine-tune", file["bytes"])
    fetched = b"".join(api.get(f"/v1/files/{code}/content"))
    assert len(fetched.splitlines()) == 2


def test_versions_stay_as_they_were(
    dataset: Dataset, judged: ReviewQueue, owner: User
) -> None:
    first = build(dataset, judged)
    before = lines(first.train_file)
    item = judged.items.order_by("pk")[1]
    resolving.decide(item=item, user=owner, answers=GOOD)
    second = build(dataset, judged)
    assert (second.number, second.rows) == (2, 3)
    first.refresh_from_db()
    assert (lines(first.train_file), first.rows) == (before, 2)
    assert AuditEvent.objects.filter(action="dataset.build").count() == 2


def test_a_part_is_kept_for_tests(
    dataset: Dataset, make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(40)
    for _ in range(40):
        judge(queue, curators[0], GOOD)
    version = build(dataset, queue, test_share=0.5, salt="1")
    train, test = lines(version.train_file), lines(version.test_file)
    assert len(train) + len(test) == 40
    assert min(len(train), len(test)) > 8
    assert (version.rows, version.test_rows) == (len(train), len(test))
    again = build(dataset, queue, test_share=0.5, salt="1")
    assert lines(again.test_file) == test


def test_nothing_is_stored_where_nothing_fits(
    dataset: Dataset, judged: ReviewQueue, data_folder: Path
) -> None:
    before = stored_files(data_folder)
    with pytest.raises(Refused, match=r"nothing was corrected \(2\)"):
        build(dataset, judged, format="dpo")
    with pytest.raises(Refused, match="KTO learns from both"):
        build(dataset, judged, format="kto", accept={})
    assert not DatasetVersion.objects.exists()
    assert stored_files(data_folder) == before


@pytest.mark.parametrize(
    ("over", "param"),
    [
        ({"format": "csv"}, "format"),
        ({"accept": {"colour": ["red"]}}, "accept.colour"),
        ({"test_share": 1.0}, "test_share"),
    ],
)
def test_what_is_wrong_is_named(
    dataset: Dataset, judged: ReviewQueue, over: dict[str, Any], param: str
) -> None:
    with pytest.raises(Refused) as refused:
        build(dataset, judged, **over)
    assert refused.value.param == param


def test_queues_are_of_the_same_team(
    dataset: Dataset, judged: ReviewQueue, other_team: Team
) -> None:
    theirs = datasets.create_dataset(team=other_team, name="mails", user=None)
    with pytest.raises(Refused, match="of the dataset's team"):
        build(theirs, judged)
    with pytest.raises(Refused, match="a queue at least"):
        datasets.build_version(dataset=dataset, queues=[], spec=Spec("sft"), user=None)
    with pytest.raises(Refused, match="of this name"):
        datasets.create_dataset(team=dataset.team, name="mails", user=None)
    assert list(Dataset.objects.visible_to_team(other_team)) == [theirs]


def test_a_full_team_gets_no_version(
    dataset: Dataset, judged: ReviewQueue, data_folder: Path, settings: Settings
) -> None:
    settings.BATCHSITE_MAX_STORED_BYTES = 1
    before = stored_files(data_folder)
    with pytest.raises(Refused, match="is full"):
        build(dataset, judged)
    assert stored_files(data_folder) == before


@pytest.mark.parametrize("form", ["sft", "raw"])
def test_it_is_read_in_slices(
    dataset: Dataset,
    make_queue: MakeQueue,
    answered: Callable[..., Batch],
    curators: list[User],
    monkeypatch: pytest.MonkeyPatch,
    django_assert_max_num_queries: Any,
    form: str,
) -> None:
    monkeypatch.setattr(sources, "READ_AT_ONCE", 5)
    queue = make_queue(12)
    queues.add_items(
        queue=queue, subjects=queues.answers_of(answered("last")), user=None
    )
    for _ in range(13):
        judge(queue, curators[0], GOOD)
    with django_assert_max_num_queries(30):
        version = build(dataset, queue, format=form)
    rows = lines(version.train_file)
    if form == "sft":
        said = [row["messages"][-1]["content"] for row in rows]
    else:
        said = [row["outputs"][0] for row in rows]
    assert said == [*(f"answer {n}" for n in range(12)), "last"]


@pytest.mark.parametrize("form", ["sft", "raw"])
def test_gold_items_are_in_no_dataset(
    dataset: Dataset, judged: ReviewQueue, form: str
) -> None:
    before = build(dataset, judged, format=form, accept={}).rows
    decided = judged.items.order_by("pk")[0]
    ReviewItem.objects.filter(pk=decided.pk).update(gold_text='{"verdict": "good"}')
    assert build(dataset, judged, format=form, accept={}).rows == before - 1
