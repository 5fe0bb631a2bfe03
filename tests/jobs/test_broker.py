# SPDX-License-Identifier: Apache-2.0
"""django-q2's queue in the database, as its pusher asks it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ
from pytest_django import DjangoAssertNumQueries

from jobs.broker import Broker

pytestmark = pytest.mark.django_db


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """The broker of the settings, for the queue `mine`, which does not sleep."""
    monkeypatch.setattr(Conf, "POLL", 0)
    found = get_broker("mine")
    assert isinstance(found, Broker)
    return found


def put(queue: str, seconds: float) -> int:
    """A task of that queue, free since so many seconds."""
    at = timezone.now() - timedelta(seconds=seconds)
    row = OrmQ.objects.create(key=queue, payload=f"{queue}{seconds}", lock=at)
    return int(row.pk)


def test_a_free_task_is_taken_once(broker: Broker) -> None:
    first, second = put("mine", 3), put("mine", 2)
    assert broker.dequeue() == [(first, "mine3")]
    assert broker.dequeue() == [(second, "mine2")]
    # Both are locked now, until they are acknowledged or their time is over.
    assert broker.dequeue() is None
    assert OrmQ.objects.filter(lock__gt=timezone.now()).count() == 2


def test_an_empty_queue_costs_one_small_query(
    broker: Broker, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    put("other", 3)
    put("mine", -60)
    with django_assert_num_queries(1) as asked:
        assert broker.dequeue() is None
    assert "payload" not in asked[0]["sql"]
