# SPDX-License-Identifier: Apache-2.0
"""A batch's results by what became of them in review."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from batchsite.accounts.models import User
from curation import feeding, queues, reviewing
from curation.models import ReviewItem, ReviewQueue
from curation.row_filter import BY_REVIEW, CHOICES
from jobs.models import Batch
from jobs.result_search import ResultFilter, search
from tests import query_plans

from .conftest import BAD, GOOD, MakeQueue
from .test_feeding import places
from .test_reviewing import judge

pytestmark = pytest.mark.django_db


def found(batch: Batch, value: str) -> list[int]:
    wanted = ResultFilter(more=(("review", value),))
    shown: list[int] = []
    after, ended = -1, False
    while not ended:
        # Each page is read from where the last one ended.
        page = search(batch, wanted, after=after, limit=2)
        shown += [row.index for row in page.rows]
        after, ended = page.reached, page.ended
    return shown


@pytest.fixture
def reviewed(
    make_queue: MakeQueue, answered: Callable[..., Batch], curators: list[User]
) -> tuple[ReviewQueue, Batch]:
    """Nine answers: 0 and 1 are done, 2 is torn, 3 is flagged, 4 is left out, 5 and 6
    wait, 7 is gold, and 8 is in no queue."""
    batch = answered(*(f"a {n}" for n in range(9)))
    queue = make_queue(0, overlap=2)
    some = queues.answers_of(batch, range(8))
    queues.add_items(queue=queue, subjects=some, user=None)
    for person, said in zip(curators, (GOOD, BAD), strict=False):
        for answers in (GOOD, GOOD, said):
            judge(queue, person, answers)
    items = list(queue.items.order_by("pk"))
    ReviewItem.objects.filter(pk=items[0].pk).update(state="completed")
    ReviewItem.objects.filter(pk=items[1].pk).update(state="completed")
    version = items[3].version
    assert version is not None
    reviewing.flag(version=version, user=curators[0], reason="odd")
    ReviewItem.objects.filter(pk=items[4].pk).update(state="excluded")
    ReviewItem.objects.filter(pk=items[7].pk).update(gold_text='{"verdict": "good"}')
    return queue, batch


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("any", list(range(8))),
        ("waiting", [3, 5, 6]),
        ("undecided", [2]),
        ("done", [0, 1]),
        ("flagged", [3]),
        ("excluded", [4]),
        ("none", [8]),
    ],
)
def test_each_state_is_found(
    reviewed: tuple[ReviewQueue, Batch], value: str, expected: list[int]
) -> None:
    assert found(reviewed[1], value) == expected


def test_every_state_has_a_test() -> None:
    tested = test_each_state_is_found.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {value for value, _ in tested} == {value for value, _ in CHOICES}


def test_the_results_page_offers_it_where_there_is_a_review(
    client: Client,
    reviewed: tuple[ReviewQueue, Batch],
    answered: Callable[..., Batch],
    make_queue: MakeQueue,
    curators: list[User],
) -> None:
    queue, batch = reviewed
    other = answered("a")
    client.force_login(curators[0])

    def page(of: Batch, **query: str) -> str:
        r = client.get(f"/batches/{of.public_id}/results/", query)
        assert r.status_code == 200
        return r.content.decode()

    assert 'name="review"' in page(batch)
    assert 'name="review"' not in page(other)
    # A kept address goes on to be understood.
    assert 'name="review"' in page(other, review="done")
    torn = page(batch, review="undecided")
    assert "a 2" in torn and "a 1" not in torn
    assert "Select a valid choice" in page(batch, review="odd")

    # What it finds can be sent to another queue.
    second = make_queue(0)
    address = f"/batches/{batch.public_id}/to-review/?review=done"
    client.post(address, {"queue": second.public_id, "how": "all", "most": "10"})
    feeding.run()
    assert places(second) == [0, 1]
    assert queue.items.count() == 8


@pytest.mark.parametrize("value", ["any", "undecided"])
def test_it_is_read_by_an_index(
    reviewed: tuple[ReviewQueue, Batch],
    answered: Callable[..., Batch],
    monkeypatch: pytest.MonkeyPatch,
    value: str,
) -> None:
    batch = reviewed[1]
    many: Any = answered(*(f"b {n}" for n in range(300)))
    monkeypatch.setattr(query_plans, "BIG", {"curation_candidate", "jobs_result"})
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
    assert many.total == 300
    with query_plans.queries() as queries:
        found(batch, value)
    assert [f for query in queries for f in query_plans.faults(query)] == []
    assert BY_REVIEW.places(batch, "none") is None
