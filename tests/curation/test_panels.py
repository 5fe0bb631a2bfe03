# SPDX-License-Identifier: Apache-2.0
"""What of curation is seen on the first page and on a batch's own."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from batchsite.accounts.models import User
from curation import feeding, queues, reviewing, rework
from jobs.models import ServedModel

from .conftest import BAD, GOOD, MakeQueue
from .test_feeding import ended
from .test_reviewing import judge

pytestmark = pytest.mark.django_db


def home(client: Client) -> str:
    cache.clear()
    return client.get("/").content.decode()


def test_the_first_page_has_queues_with_something_left(
    client: Client, curators: list[User], viewer: User, make_queue: MakeQueue
) -> None:
    client.force_login(curators[0])
    assert "reviews-title" not in home(client)
    queue, done = make_queue(2), make_queue(1)
    judge(done, curators[0], BAD)
    judge(queue, curators[0], BAD)
    work = reviewing.next_work(queue=queue, user=curators[0])
    assert work is not None
    reviewing.flag(version=work.version, user=curators[0], reason="odd")

    page = home(client)

    assert "1 of 2 done" in page
    assert "1 flagged" in page
    assert f"/reviews/{queue.public_id}/review/" in page
    assert done.public_id not in page
    client.force_login(viewer)
    assert f"/reviews/{queue.public_id}/review/" not in home(client)


def test_the_strip_counts_what_waits_for_somebody(
    client: Client, curators: list[User], make_queue: MakeQueue
) -> None:
    client.force_login(curators[0])
    assert "awaiting review" not in home(client)
    queue, torn = make_queue(3), make_queue(2, overlap=2)
    judge(queue, curators[0], BAD)
    # One item of which two people say different things waits for a decision.
    judge(torn, curators[0], BAD)
    judge(torn, curators[1], GOOD)
    assert 'data-figure="awaiting review">4</span>' in home(client)
    cache.clear()
    live = client.get("/", {"part": "live"}, headers={"HX-Request": "true"})
    assert 'data-figure="awaiting review">4</span>' in live.content.decode()
    # Gold items wait for nobody.
    waiting = queue.items.filter(state="pending")
    waiting.filter(pk=waiting[0].pk).update(gold_text='{"verdict": "good"}')
    assert 'data-figure="awaiting review">3</span>' in home(client)
    for one in (queue, torn):
        queues.change_queue(queue=one, user=None, state="archived")
    assert "awaiting review" not in home(client)


def test_a_batch_says_who_judges_it_and_what_it_is_a_rework_of(
    client: Client, curators: list[User], make_queue: MakeQueue, answered: Any
) -> None:
    client.force_login(curators[0])
    ServedModel.objects.create(name="tiny", source="tiny")
    batch = answered("a", "b")
    path = f"/batches/{batch.public_id}/review/"
    assert "Nobody judges answers of this batch." in client.get(path).content.decode()
    queue = make_queue(0)
    feeding.ask(queue=queue, batch=batch, user=None)
    assert queue.name in client.get(path).content.decode()
    feeding.run()
    page = client.get(path).content.decode()
    assert "0 of 2 done" in page
    assert page.count(queue.name) == 1

    queues.change_queue(queue=queue, user=None, state="paused")
    ended(batch)
    (child,) = rework.rework(
        queue=queue, items=list(queue.items.all()), user=curators[0], note="shorter"
    )
    page = client.get(f"/batches/{child.public_id}/review/").content.decode()
    assert "shorter" in page
    assert "become new versions" in page


def test_strangers_see_no_tab(client: Client, stranger: User, answered: Any) -> None:
    client.force_login(stranger)
    batch = answered("a")
    assert client.get(f"/batches/{batch.public_id}/review/").status_code == 404
