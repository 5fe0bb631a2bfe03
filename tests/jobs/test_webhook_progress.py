# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from batchsite.accounts.models import Team
from jobs import chores, lifecycle
from jobs.models import Batch, BatchEvent, WebhookDelivery
from jobs.webhooks import attempts, endpoints, progress, pruning
from tests.conftest import MakeBatch
from tests.jobs.webhook_rows import make_delivery, make_endpoint

RUNNING = Batch.Status.IN_PROGRESS


def count(batch: Batch, *, completed: int, failed: int = 0) -> None:
    """As if so many requests had been answered."""
    Batch.objects.filter(pk=batch.pk).update(
        completed=completed, failed=failed, result_seq=completed + failed
    )
    batch.refresh_from_db()


def test_each_tenth_is_told_once(team: Team, make_batch: MakeBatch) -> None:
    endpoint = make_endpoint(team, events=["batch.progress"])
    batch = make_batch(status=RUNNING, total=1000)
    count(batch, completed=99)
    assert not progress.wanted()
    count(batch, completed=98, failed=3)
    assert progress.wanted()
    assert progress.run() == "told of 1 batches"
    assert not progress.wanted()
    delivery = endpoint.deliveries.get()
    assert delivery.type == "batch.progress"
    told = json.loads(delivery.payload)
    assert told["type"] == "batch.progress"
    assert told["data"] == {
        "id": batch.public_id,
        "total": 1000,
        "completed": 98,
        "failed": 3,
        "percent": 10,
    }
    # What was skipped is not told of one by one.
    count(batch, completed=456)
    progress.run()
    batch.refresh_from_db()
    assert batch.progress_told == 40
    events = batch.events.filter(kind="progress")
    assert list(events.values_list("data__percent", flat=True)) == [10, 45]


def test_the_last_tenth_is_left_to_the_last_event(
    team: Team, make_batch: MakeBatch
) -> None:
    make_endpoint(team)
    batch = make_batch(status=RUNNING, total=10)
    count(batch, completed=10)
    assert progress.run() == "told of 1 batches"
    assert progress.run() == "told of 0 batches"
    assert WebhookDelivery.objects.count() == 1


def test_nobody_who_wants_it_means_no_event(
    team: Team, other_team: Team, make_batch: MakeBatch
) -> None:
    make_endpoint(team, events=["batch.completed"])
    make_endpoint(team, "https://93.184.215.14/off", disabled_at=timezone.now())
    make_endpoint(other_team)
    batch = make_batch(status=RUNNING, total=10)
    count(batch, completed=5)
    assert not progress.wanted()
    progress.run()
    assert not BatchEvent.objects.exists()


def test_a_batchs_own_address_is_told(make_batch: MakeBatch) -> None:
    batch = make_batch(
        status=RUNNING, total=10, webhook_url="https://93.184.215.14/own"
    )
    count(batch, completed=5)
    progress.run()
    assert WebhookDelivery.objects.get().url == batch.webhook_url


@pytest.mark.parametrize(
    "status", [status for status in Batch.Status if status != RUNNING]
)
def test_nothing_is_told_of_a_batch_that_does_not_run(
    team: Team, make_batch: MakeBatch, status: str
) -> None:
    make_endpoint(team)
    counts = {} if status == "failed" else {"total": 10, "completed": 10}
    batch = make_batch(status=status, **counts)
    batch.total = 10
    assert not progress.wanted()
    assert not progress.tell(batch)
    assert not BatchEvent.objects.filter(kind="progress").exists()


def test_progress_that_waits_is_not_told_after_the_end(
    team: Team, make_batch: MakeBatch
) -> None:
    make_endpoint(team)
    batch = make_batch(status=RUNNING, total=10)
    count(batch, completed=5)
    progress.run()
    lifecycle.cancel(batch)
    count(batch, completed=10)
    Batch.objects.update(closed_at=timezone.now())
    assert lifecycle.end(batch, epoch=batch.stage_epoch)
    waiting = {one.type: one for one in attempts.due(10)}
    assert attempts.claim(waiting["batch.cancelled"])
    assert attempts.claim(waiting["batch.progress"]) is None
    ended = WebhookDelivery.objects.get(type="batch.progress")
    assert ended.state == "failed"
    assert ended.attempts.get().error == "The batch has ended."
    with pytest.raises(endpoints.CannotChange, match="has ended"):
        endpoints.redeliver(delivery=ended, by=None)


def test_two_workers_tell_once(team: Team, make_batch: MakeBatch) -> None:
    make_endpoint(team)
    batch = make_batch(status=RUNNING, total=10)
    count(batch, completed=5)
    same = Batch.objects.get(pk=batch.pk)
    assert progress.tell(batch)
    assert not progress.tell(same)
    assert BatchEvent.objects.count() == 1


def test_the_end_is_told_to_who_wants_it(team: Team, make_batch: MakeBatch) -> None:
    everything = make_endpoint(team)
    only_failed = make_endpoint(
        team, "https://93.184.215.14/failed", events=["batch.failed"]
    )
    own = make_batch(webhook_url="https://93.184.215.14/own")
    errors = {"object": "list", "data": []}
    assert lifecycle.fail(own, epoch=0, errors=errors)
    told = {one.url for one in WebhookDelivery.objects.filter(type="batch.failed")}
    assert told == {everything.url, only_failed.url, own.webhook_url}
    event = json.loads(WebhookDelivery.objects.all()[0].payload)
    assert event["data"] == {"id": own.public_id}


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({}, True),
        ({"events": ["batch.failed"]}, True),
        ({"events": ["batch.completed"]}, False),
        ({"disabled_at": timezone.now()}, False),
    ],
)
def test_of_an_address_that_is_both_the_endpoint_decides(
    team: Team, make_batch: MakeBatch, columns: dict[str, Any], told: bool
) -> None:
    endpoint = make_endpoint(team, **columns)
    batch = make_batch(webhook_url=endpoint.url)
    assert lifecycle.fail(batch, epoch=0, errors={"object": "list", "data": []})
    by = [one.endpoint for one in WebhookDelivery.objects.all()]
    assert by == ([endpoint] if told else [])


def test_another_teams_endpoint_decides_nothing(
    other_team: Team, make_batch: MakeBatch
) -> None:
    endpoint = make_endpoint(other_team, disabled_at=timezone.now())
    batch = make_batch(webhook_url=endpoint.url)
    assert lifecycle.fail(batch, epoch=0, errors={"object": "list", "data": []})
    assert WebhookDelivery.objects.get().is_batchs_own


def test_deliveries_are_kept_for_30_days(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "SLICE", 2)
    endpoint = make_endpoint(team)
    old = timezone.now() - timedelta(days=30, minutes=1)
    for state in ("delivered", "failed", "pending", "delivered", "failed"):
        delivery = make_delivery(endpoint, created_at=old, state=state)
        delivery.attempts.create(status_code=200)
    young = make_delivery(endpoint, created_at=old + timedelta(hours=1))
    assert pruning.wanted()
    assert pruning.run() == "deleted 5 deliveries"
    assert not pruning.wanted()
    assert list(WebhookDelivery.objects.all()) == [young]


def test_the_chores_are_known_to_the_control_worker(db: None) -> None:
    for name in ("webhook deliveries", "webhook progress", "webhook pruning"):
        assert chores.do_chore(name)
