# SPDX-License-Identifier: Apache-2.0
"""Versions that control workers make, and the pages that ask for them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from batchsite.accounts.models import Team, User
from curation import building, datasets
from curation.models import Dataset, DatasetBuild, DatasetVersion, ReviewQueue
from curation.specs import Spec
from jobs.models import BatchFile
from jobs.refusals import Refused

from .conftest import BAD, GOOD, MakeQueue
from .test_reviewing import judge

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(team: Team) -> Dataset:
    return datasets.create_dataset(team=team, name="mails", user=None)


@pytest.fixture
def queue(make_queue: MakeQueue, curators: list[User]) -> ReviewQueue:
    made = make_queue(3)
    for answers in (GOOD, BAD, GOOD):
        judge(made, curators[0], answers)
    return made


def ask(dataset: Dataset, queue: ReviewQueue) -> DatasetBuild:
    return building.ask(dataset=dataset, queues=[queue], spec=Spec("sft"), user=None)


def test_a_version_is_made_once(dataset: Dataset, queue: ReviewQueue) -> None:
    build = ask(dataset, queue)
    assert building.wanted()
    building.run()
    assert not building.wanted()
    build.refresh_from_db()
    assert build.state == "done"
    assert build.version == DatasetVersion.objects.get()
    # A worker that took the first one for dead comes to its end as well.
    assert building.make(build) == "refused"
    assert DatasetVersion.objects.count() == 1
    assert BatchFile.objects.filter(purpose="fine-tune").count() == 1


def test_one_that_was_killed_is_begun_anew_and_not_for_ever(
    dataset: Dataset, queue: ReviewQueue
) -> None:
    ask(dataset, queue)
    held = timezone.now() + timedelta(minutes=1)
    DatasetBuild.objects.update(taken_until=held, tries=1)
    assert building.run() == "no version was to be made"
    DatasetBuild.objects.update(taken_until=timezone.now() - timedelta(seconds=1))
    assert "version 1" in building.run()

    ask(dataset, queue)
    DatasetBuild.objects.filter(state="waiting").update(tries=building.TRIES)
    building.run()
    failed = DatasetBuild.objects.get(state="failed")
    assert "begun 3 times" in failed.problem


def test_what_makes_no_row_fails_with_the_reason(
    dataset: Dataset, make_queue: MakeQueue
) -> None:
    ask(dataset, make_queue(1))
    building.run()
    assert DatasetBuild.objects.get().problem == (
        "Invalid 'queues': no item makes a row: nothing is resolved."
    )
    assert not DatasetVersion.objects.exists()


def test_a_dataset_has_a_limited_number_under_way(
    dataset: Dataset, queue: ReviewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "MOST_WAITING", 1)
    ask(dataset, queue)
    with pytest.raises(Refused, match="1 versions of it are being made"):
        ask(dataset, queue)


def test_a_version_is_asked_for_in_the_browser(
    client: Client, curators: list[User], queue: ReviewQueue
) -> None:
    client.force_login(curators[0])
    assert "No datasets yet" in client.get("/datasets/").content.decode()
    assert queue.name in client.get("/datasets/new/").content.decode()
    path = f"/datasets/new/?queue={queue.public_id}"
    page = client.get(path).content.decode()
    assert 'name="c-verdict" value="good"' in page
    data = {
        "name": "Mails",
        "format": "sft",
        "file_format": "jsonl",
        "c-verdict": "good",
        "test_percent": "0",
        "most": "8",
        "tokens": "1500",
    }

    r = client.post(path, data)

    dataset = Dataset.objects.get()
    assert r["Location"] == f"/datasets/{dataset.public_id}/"
    assert "being made" in client.get(r["Location"]).content.decode()
    building.run()
    page = client.get(r["Location"]).content.decode()
    assert "Version 1" in page
    assert "left out: it is not good enough" in page
    version = DatasetVersion.objects.get()
    assert (version.rows, version.manifest["accept"]) == (2, {"verdict": ["good"]})
    assert version.train_file is not None
    assert f"/files/{version.train_file.public_id}/download/" in page
    # The next version of the same one.
    client.post(path, data | {"dataset": dataset.public_id, "name": ""})
    building.run()
    assert dataset.versions.count() == 2
    page = client.post(path, data | {"name": ""}).content.decode()
    assert "Name the new dataset" in page
    page = client.post(path, data).content.decode()
    assert "The team has a dataset of this name." in page


def test_others_see_and_make_nothing(
    client: Client,
    teammate: User,
    stranger: User,
    dataset: Dataset,
    queue: ReviewQueue,
) -> None:
    path = f"/datasets/new/?queue={queue.public_id}"
    client.force_login(teammate)
    assert client.get(f"/datasets/{dataset.public_id}/").status_code == 200
    assert client.get("/datasets/new/").status_code == 403
    assert client.get(path).status_code == 404
    client.force_login(stranger)
    assert client.get(f"/datasets/{dataset.public_id}/").status_code == 404
    assert client.get(path).status_code == 404
