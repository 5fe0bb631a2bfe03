# SPDX-License-Identifier: Apache-2.0
"""Exported datasets in what they are for: `datasets` loads them, TRL takes their form."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage

from batchsite.accounts.models import Team, User
from curation import datasets, queues, rubrics
from curation.models import ReviewQueue
from curation.questions import read
from curation.specs import Spec
from jobs.engines import install
from tests import consumers

from .conftest import WHICH, MakeQueue
from .test_reviewing import judge

pytestmark = [pytest.mark.vllm, pytest.mark.django_db]


@pytest.fixture
def pairs(
    team: Team, make_queue: MakeQueue, answered: Any, curators: list[User]
) -> ReviewQueue:
    asked = rubrics.create_rubric(
        team=team, name="Which", questions=read("q", WHICH), user=None
    )
    queue = make_queue(0, kind="pairwise", rubric_version=asked.latest)
    one = answered("red", "no")
    two = answered("blue", "yes", input_file=one.input_file)
    queues.add_items(queue=queue, subjects=queues.same_requests([one, two]), user=None)
    for vote in ("a", "b"):
        judge(queue, curators[0], {"better": vote})
    return queue


@pytest.fixture
def single(make_queue: MakeQueue, curators: list[User]) -> ReviewQueue:
    queue = make_queue(2)
    for verdict in ("good", "bad"):
        judge(queue, curators[0], {"verdict": verdict})
    return queue


def consumed(team: Team, queue: ReviewQueue, folder: Path, **spec: Any) -> Any:
    """What the consumers make of a dataset of the queue."""
    dataset = datasets.create_dataset(team=team, name=folder.name, user=None)
    version = datasets.build_version(
        dataset=dataset, queues=[queue], spec=Spec(**spec), user=None
    )
    file = version.train_file
    assert file is not None
    path = folder / file.filename
    with default_storage.open(file.storage_name) as stored:
        path.write_bytes(stored.read())
    kind = "parquet" if path.suffix == ".parquet" else "json"
    done = subprocess.run(
        [
            *(str(consumers.python()), "-c", consumers.SCRIPT),
            *(kind, str(path), str(install.model_folder())),
        ],
        env={
            **os.environ,
            "HF_HOME": str(folder / "hub"),
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_fine_tuning_rows(
    team: Team, single: ReviewQueue, tmp_path: Path, file_format: str
) -> None:
    accept = {"verdict": ["good"]}
    found = consumed(
        team, single, tmp_path, format="sft", accept=accept, file_format=file_format
    )
    assert (found["rows"], found["columns"]) == (1, ["messages"])
    assert "answer 0" in found["shown"][0]["text"]


def test_preference_rows(team: Team, pairs: ReviewQueue, tmp_path: Path) -> None:
    found = consumed(team, pairs, tmp_path, format="dpo")
    assert found["columns"] == ["prompt", "chosen", "rejected"]
    shown = [(one["chosen"], one["rejected"]) for one in found["shown"]]
    for (chosen, rejected), (better, worse) in zip(
        shown, [("red", "blue"), ("yes", "no")], strict=True
    ):
        assert better in chosen
        assert worse in rejected


def test_rows_of_good_and_bad_answers(
    team: Team, single: ReviewQueue, tmp_path: Path
) -> None:
    accept = {"verdict": ["good"]}
    found = consumed(team, single, tmp_path, format="kto", accept=accept)
    assert found["columns"] == ["prompt", "completion", "label"]
    assert [one["label"] for one in found["shown"]] == [True, False]
    assert "answer 1" in found["shown"][1]["completion"]
