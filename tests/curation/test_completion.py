# SPDX-License-Identifier: Apache-2.0
"""Webhooks are told of ended reviews and of datasets."""

from __future__ import annotations

import json

import pytest

from batchsite.accounts.models import Team, User
from curation import completion, datasets, queues, tending
from curation.specs import Spec
from jobs.models import WebhookDelivery
from tests.jobs.webhook_rows import make_endpoint

from .conftest import BAD, GOOD, MakeQueue
from .test_reviewing import judge

pytestmark = pytest.mark.django_db


def told() -> list[dict[str, object]]:
    rows = WebhookDelivery.objects.order_by("pk").values_list("payload", flat=True)
    return [json.loads(text) for text in rows]


def test_a_queue_is_told_of_once_all_its_items_are_done(
    team: Team, make_queue: MakeQueue, curators: list[User]
) -> None:
    make_endpoint(team, events=["review.completed"])
    make_endpoint(team, events=["batch.completed"], url="https://hooks.example.com/b")
    queue = make_queue(2, overlap=2)
    make_queue(0)
    ann, bob = curators[:2]
    judge(queue, ann, GOOD)
    judge(queue, ann, GOOD)
    judge(queue, bob, GOOD)
    assert not completion.wanted()
    torn = judge(queue, bob, BAD)
    # One is to be decided still.
    assert not completion.wanted()

    for item in queue.items.filter(state="awaiting_resolution"):
        tending.exclude(queue=queue, items=[item], user=ann)
    tending.include(queue=queue, items=[torn], user=ann)
    tending.exclude(queue=queue, items=[torn], user=ann)
    # Nothing at all is done: that is no review.
    assert not completion.wanted()


def test_what_is_done_is_told_once_until_there_is_more(
    team: Team, make_queue: MakeQueue, curators: list[User]
) -> None:
    make_endpoint(team, events=["review.completed"])
    queue = make_queue(1)
    judge(queue, curators[0], GOOD)
    assert completion.wanted()
    completion.run()
    completion.run()

    (event,) = told()
    assert event["type"] == "review.completed"
    assert event["data"] == {"id": queue.public_id, "name": queue.name, "items": 1}
    assert str(event["id"]).startswith("evt_")
    assert not completion.wanted()
    # More comes, and it is over again.
    tending.exclude(queue=queue, items=queue.items.all(), user=curators[0])
    assert completion.wanted()
    completion.run()
    tending.include(queue=queue, items=queue.items.all(), user=curators[0])
    completion.run()
    assert len(told()) == 2


def test_paused_queues_are_told_of_and_archived_ones_are_not(
    team: Team, make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1)
    judge(queue, curators[0], GOOD)
    queues.change_queue(queue=queue, user=None, state="archived")
    assert not completion.wanted()
    queues.change_queue(queue=queue, user=None, state="paused")
    assert completion.wanted()


def test_a_dataset_is_told_of_with_its_version(
    team: Team, make_queue: MakeQueue, curators: list[User]
) -> None:
    make_endpoint(team)
    queue = make_queue(1)
    judge(queue, curators[0], GOOD)
    dataset = datasets.create_dataset(team=team, name="mails", user=None)
    datasets.build_version(dataset=dataset, queues=[queue], spec=Spec("sft"), user=None)
    (event,) = told()
    assert event["type"] == "dataset.ready"
    assert event["data"] == {
        "id": dataset.public_id,
        "version": 1,
        "rows": 1,
        "test_rows": 0,
    }
