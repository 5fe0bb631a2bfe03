# SPDX-License-Identifier: Apache-2.0
"""A batch whose requests are in flight and not answered: noted once, and its end once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from batchsite.accounts.models import User
from jobs import changes, lifecycle, stalls
from jobs.chores import do_chore
from jobs.models import Batch, Engine, Result, ThroughputSample
from tests.conftest import MakeBatch

from .rows import answer, claim_next, running_batch
from .test_standing import serving

pytestmark = pytest.mark.django_db


@pytest.fixture
def engine() -> Engine:
    return serving("tiny")


@pytest.fixture
def batch(make_batch: MakeBatch, engine: Engine) -> Batch:
    """A running batch with one answer, an hour ago, that took two seconds."""
    made = running_batch(make_batch, chunks=[6])
    claim = claim_next(engine)
    assert claim is not None
    moment = timezone.now() - timedelta(hours=1)
    store(made, answer(claim, 0, latency_ms=2000, created_at=moment))
    made.refresh_from_db()
    return made


def store(batch: Batch, result: Result) -> None:
    """As the writer does; its sample comes later."""
    batch.result_seq += 1
    result.batch, result.seq = batch, batch.result_seq
    result.save()
    Batch.objects.filter(pk=batch.pk).update(
        completed=batch.result_seq, result_seq=batch.result_seq
    )


def store_next(batch: Batch) -> None:
    row = batch.requests.get(index=batch.result_seq)
    store(
        batch,
        Result(
            request=row,
            index=row.index,
            outcome="completed",
            status_code=200,
            body="{}",
        ),
    )


def silence(
    batch: Batch, engine: Engine, seconds: int, *, ago: int = 0, flying: float = 10.0
) -> None:
    """Ten-second samples without an answer that end so many seconds ago."""
    now = timezone.now()
    ThroughputSample.objects.bulk_create(
        ThroughputSample(
            batch=batch,
            engine=engine,
            at=now - timedelta(seconds=ago + 10 * n),
            seconds=10.0,
            rows=0,
            input_tokens=0,
            output_tokens=0,
            request_seconds=flying,
        )
        for n in range(seconds // 10)
    )


def answers(batch: Batch, engine: Engine, *, ago: int) -> None:
    silence(batch, engine, 10, ago=ago)
    ThroughputSample.objects.filter(pk=ThroughputSample.objects.latest("pk").pk).update(
        rows=3
    )


def kinds(batch: Batch) -> list[str]:
    return list(batch.events.order_by("pk").values_list("kind", flat=True))


def test_a_stall_begins_and_ends_with_one_event_each(
    batch: Batch, engine: Engine
) -> None:
    answers(batch, engine, ago=70)
    silence(batch, engine, 70)
    assert stalls.wanted()
    (change,) = stalls.changes()
    assert do_chore("stalled batches") == "1 stalls began or ended"
    # Another worker saw the same.
    assert not stalls.note(change)
    assert do_chore("stalled batches") == "0 stalls began or ended"
    batch.refresh_from_db()
    assert batch.stalled_since is not None
    assert 69 <= (timezone.now() - batch.stalled_since).total_seconds() < 130
    assert kinds(batch) == ["stalled"]

    store_next(batch)
    (change,) = stalls.changes()
    assert stalls.note(change)
    assert not stalls.note(change)
    assert not stalls.wanted()
    assert Batch.objects.get(pk=batch.pk).stalled_since is None
    assert kinds(batch) == ["stalled", "stall_ended"]
    event = batch.events.latest("pk")
    assert event.message == "there are answers again"
    assert event.data is not None
    assert event.data["seconds"] >= 69


def test_an_answer_that_comes_meanwhile_wins(batch: Batch, engine: Engine) -> None:
    silence(batch, engine, 120)
    (change,) = stalls.changes()
    store_next(batch)
    assert not stalls.note(change)
    assert kinds(batch) == []


@pytest.mark.parametrize(
    ("over", "seconds"),
    [
        ({"seconds": 50}, 0),
        # Others went first, and nothing of it is in flight.
        ({"seconds": 120, "ago": 40}, 0),
        ({"seconds": 120, "flying": 0.0}, 0),
        ({"seconds": 70}, 20_000),
    ],
    ids=["short", "not in flight", "preempted", "slow answers"],
)
def test_what_is_no_stall(
    batch: Batch, engine: Engine, over: dict[str, Any], seconds: int
) -> None:
    if seconds:
        Result.objects.update(latency_ms=seconds)
    silence(batch, engine, **over)
    assert not stalls.wanted()


def test_silence_counts_only_while_requests_are_in_flight(
    batch: Batch, engine: Engine
) -> None:
    """Ten minutes behind other work are no stall of a batch that now goes on."""
    answers(batch, engine, ago=700)
    silence(batch, engine, 600, ago=60, flying=0.0)
    silence(batch, engine, 50)
    assert stalls.silent_seconds(batch) == 50
    assert not stalls.wanted()


def test_five_times_the_usual_latency_is_waited_for(
    batch: Batch, engine: Engine
) -> None:
    Result.objects.update(latency_ms=20_000)
    silence(batch, engine, 90)
    assert not stalls.wanted()
    silence(batch, engine, 20, ago=90)
    assert stalls.wanted()


def test_before_a_model_ever_answered_patience_is_longer(
    make_batch: MakeBatch, engine: Engine
) -> None:
    batch = running_batch(make_batch)
    silence(batch, engine, 290)
    assert not stalls.wanted()
    silence(batch, engine, 20, ago=290)
    assert stalls.wanted()


def test_a_pause_and_a_blocked_engine_are_no_stall(
    batch: Batch, engine: Engine
) -> None:
    silence(batch, engine, 90)
    Engine.objects.update(fault="it answers 401")
    assert not stalls.wanted()
    Engine.objects.update(fault="")
    stalls.run()
    changes.update_batch(batch=batch, user=None, paused=True)
    stalls.run()
    assert kinds(batch) == ["stalled", "paused", "stall_ended"]
    assert batch.events.latest("pk").message == "the batch is paused"
    assert not stalls.wanted()


def test_a_stall_ends_when_nothing_is_in_flight(batch: Batch, engine: Engine) -> None:
    silence(batch, engine, 90)
    stalls.run()
    ThroughputSample.objects.all().delete()
    stalls.run()
    assert batch.events.latest("pk").message == "no request is in flight any more"


def test_the_end_of_the_batch_ends_its_stall(batch: Batch, engine: Engine) -> None:
    silence(batch, engine, 90)
    stalls.run()
    lifecycle.cancel(batch)
    assert batch.stalled_since is None
    assert kinds(batch) == ["stalled", "stall_ended", "status"]
    stalls.run()
    assert kinds(batch) == ["stalled", "stall_ended", "status"]


def test_it_is_said_on_pages_and_by_the_api(
    batch: Batch, engine: Engine, client: Client, owner: User, api: APIClient
) -> None:
    since = timezone.now() - timedelta(minutes=4, seconds=5)
    Batch.objects.filter(pk=batch.pk).update(stalled_since=since)
    client.force_login(owner)
    for address in ("/batches/", f"/batches/{batch.public_id}/"):
        assert "talled for 4 min" in client.get(address).content.decode()
    found = api.get(f"/v1/batches/{batch.public_id}").json()["batchsite"]
    assert found["stalled_since"] == int(since.timestamp())
    assert found["eta"] == {
        "seconds_low": None,
        "seconds_high": None,
        "reason": "stalled for 4 min",
    }
