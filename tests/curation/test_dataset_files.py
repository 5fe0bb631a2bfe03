# SPDX-License-Identifier: Apache-2.0
"""Files of datasets in all their forms: what is in them, what is left out and hidden."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.core.files.storage import default_storage
from pyarrow import parquet

from batchsite.accounts.models import Team, User
from curation import datasets, queues, rubrics
from curation.duplicates import Duplicates, shingles
from curation.models import Dataset, DatasetVersion, ReviewQueue
from curation.personal import Redactor
from curation.questions import read
from curation.specs import Spec
from jobs.models import Batch
from jobs.refusals import Refused
from tests.web import rows

from .conftest import GOOD, MakeQueue
from .test_reviewing import judge

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(team: Team) -> Dataset:
    return datasets.create_dataset(team=team, name="mails", user=None)


def content(version: DatasetVersion) -> bytes:
    file = version.train_file
    assert file is not None
    with default_storage.open(file.storage_name) as stored:
        found: bytes = stored.read()
    assert len(found) == file.bytes
    return found


def judged(
    make_queue: MakeQueue, answered: Any, person: User, *texts: str
) -> ReviewQueue:
    """A queue of these answers, all of them good."""
    queue = make_queue(0)
    batch = answered(*texts)
    queues.add_items(queue=queue, subjects=queues.answers_of(batch), user=None)
    for _ in texts:
        judge(queue, person, GOOD)
    return queue


def build(dataset: Dataset, queue: ReviewQueue, **over: Any) -> DatasetVersion:
    spec = Spec(**{"format": "sft"} | over)
    return datasets.build_version(dataset=dataset, queues=[queue], spec=spec, user=None)


def test_csv_is_safe_in_spreadsheets(
    dataset: Dataset, make_queue: MakeQueue, answered: Any, curators: list[User]
) -> None:
    queue = judged(make_queue, answered, curators[0], "=1+1", "plain")
    version = build(dataset, queue, format="reward", file_format="csv")
    assert version.train_file is not None
    assert version.train_file.filename.endswith("_v1_train.csv")
    text = content(version).decode("utf-8-sig")
    first, second = csv.DictReader(io.StringIO(text))
    assert first["expected_output"] == "'=1+1"
    assert second["expected_output"] == "plain"
    assert json.loads(second["scores"]) == {"verdict": "good"}


def test_parquet_has_messages_as_structs(
    dataset: Dataset,
    make_queue: MakeQueue,
    answered: Any,
    curators: list[User],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("curation.parts.GROUP_ROWS", 2)
    queue = judged(make_queue, answered, curators[0], "a", "b", "c")
    version = build(dataset, queue, file_format="parquet")
    table = parquet.read_table(io.BytesIO(content(version)))
    assert table.num_rows == 3
    assert str(table.schema.field("messages").type) == (
        "list<element: struct<role: string, content: string>>"
    )
    assert table.to_pylist()[2]["messages"][-1] == {"role": "assistant", "content": "c"}
    for form in ("kto", "reward"):
        accept = {"verdict": ["good"]}
        version = build(
            dataset, queue, format=form, accept=accept, file_format="parquet"
        )
        rows_ = parquet.read_table(io.BytesIO(content(version))).to_pylist()
        assert len(rows_) == 3


def test_raw_rows_are_judgements_with_pseudonyms(
    dataset: Dataset, make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(2, overlap=2)
    for person in curators[:2]:
        judge(queue, person, GOOD)
    version = build(dataset, queue, format="raw")
    found = [json.loads(line) for line in content(version).splitlines()]
    assert len(found) == 2
    assert len({row["reviewer"] for row in found}) == 2
    assert all(row["reviewer"].startswith("reviewer-") for row in found)
    assert found[0]["answers"] == GOOD
    assert found[0]["resolution"] is None
    (batch,) = Batch.objects.all()
    manifest = version.manifest
    assert manifest["items"] == 1
    assert manifest["lineage"]["batches"] == {batch.public_id: 1}
    version = build(dataset, queue, format="raw", pseudonyms=False)
    assert b"curator0@example.com" in content(version)


def test_examples_are_the_best_that_fit(
    dataset: Dataset,
    team: Team,
    make_queue: MakeQueue,
    answered: Any,
    curators: list[User],
) -> None:
    asked = rubrics.create_rubric(
        team=team,
        name="Stars",
        questions=read("q", [{"key": "stars", "type": "rating", "title": "How good?"}]),
        user=None,
    )
    queue = make_queue(0, rubric_version=asked.latest)
    batch = answered("poor", "fine", "great")
    queues.add_items(queue=queue, subjects=queues.answers_of(batch), user=None)
    for stars in (2, 7, 10):
        judge(queue, curators[0], {"stars": stars})
    version = build(dataset, queue, format="few_shot", most=2)
    found = [json.loads(line) for line in content(version).splitlines()]
    assert [row["output"] for row in found] == ["great", "fine"]
    assert found[0]["input"] == "ask 2"
    # Of the examples alone, and not of all that was considered.
    manifest = version.manifest
    assert manifest["lineage"]["batches"] == {batch.public_id: 2}
    assert manifest["left_out"] == {"others are better examples": 1}
    with pytest.raises(Refused, match="makes a row"):
        build(dataset, queue, format="few_shot", tokens=1)


def test_near_duplicates_are_left_out(
    dataset: Dataset, make_queue: MakeQueue, answered: Any, curators: list[User]
) -> None:
    long = " ".join(f"word{n}" for n in range(60))
    queue = judged(
        make_queue, answered, curators[0], long, f"{long} more", "something else"
    )
    version = build(dataset, queue, alike=0.8)
    assert version.rows == 2
    assert version.manifest["left_out"] == {"it is like another one": 1}
    assert build(dataset, queue).rows == 3
    with pytest.raises(Refused, match=r"expected 0\.5 to 1"):
        build(dataset, queue, alike=0.2)


def test_likeness_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.duplicates.MOST_ITEMS", 1)
    seen = Duplicates(0.9)
    assert seen.is_new("the first text of all")
    assert not seen.is_new("The first text, of all!")
    with pytest.raises(Refused, match="1 items at most"):
        seen.is_new("quite another text")
    assert shingles("a b c d") == {"a b c", "b c d"}
    assert shingles("") == {""}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("write to a.b+c@mail.example.com now", "write to [EMAIL] now"),
        ("call +49 30 901820 today", "call [PHONE] today"),
        ("GB82 WEST 1234 5698 7654 32 is mine", "[IBAN] is mine"),
        ("card 4111 1111 1111 1111.", "card [CARD]."),
        # No check digits: these are just numbers.
        ("card 4111 1111 1111 1112.", "card 4111 1111 1111 1112."),
        ("GB00 WEST 1234 5698 7654 32", "GB00 WEST 1234 5698 7654 32"),
        (
            "version 1.2.3 of 2026-11-27, 1234567",
            "version 1.2.3 of 2026-11-27, 1234567",
        ),
    ],
)
def test_personal_data_is_replaced_by_its_kind(text: str, made: str) -> None:
    assert Redactor().text(text) == made


def test_rows_are_redacted_and_counted(
    dataset: Dataset, make_queue: MakeQueue, answered: Any, curators: list[User]
) -> None:
    queue = judged(
        make_queue, answered, curators[0], "ask a@example.com, b@example.com"
    )
    version = build(dataset, queue, redact=True)
    row = json.loads(content(version))
    assert row["messages"][-1]["content"] == "ask [EMAIL], [EMAIL]"
    assert version.manifest["redacted"] == {"email": 2}
    assert rows.chat("a@example.com") not in content(version).decode()


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_an_answer_that_is_cut_within_a_letter_spoils_no_file(
    dataset: Dataset,
    make_queue: MakeQueue,
    answered: Any,
    curators: list[User],
    file_format: str,
) -> None:
    queue = judged(make_queue, answered, curators[0], "fine", "cut \ud83d")
    form = "reward" if file_format == "csv" else "sft"
    version = build(dataset, queue, format=form, file_format=file_format)
    assert version.rows == 2
    if file_format == "jsonl":
        last = json.loads(content(version).splitlines()[1])
        assert last["messages"][-1]["content"] == "cut \ud83d"


def test_what_calls_tools_is_not_in_parquet(
    dataset: Dataset, make_queue: MakeQueue, make_batch: Any, curators: list[User]
) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    queue, batch = make_queue(0), make_batch(status="in_progress", total=2)
    bodies = [json.dumps({"choices": [{"message": message}]}), rows.chat("fine")]
    rows.answer(batch, bodies)
    queues.add_items(queue=queue, subjects=queues.answers_of(batch), user=None)
    for _ in bodies:
        judge(queue, curators[0], GOOD)
    assert build(dataset, queue).rows == 2
    version = build(dataset, queue, file_format="parquet")
    assert version.rows == 1
    why = "it calls tools, which Parquet has no columns for"
    assert version.manifest["left_out"] == {why: 1}
