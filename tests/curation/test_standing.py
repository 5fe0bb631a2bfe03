# SPDX-License-Identifier: Apache-2.0
"""How far queues are: counted anew where that is cheap, and kept where it is not."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache

from batchsite.accounts.models import User
from curation import standing

from .conftest import GOOD, MakeQueue
from .test_reviewing import judge

pytestmark = pytest.mark.django_db


def test_a_small_queue_is_counted_after_each_judgement(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    cache.clear()
    queue, other = make_queue(3), make_queue(2)
    found = standing.of_each([queue, other])
    assert [found[q.pk].waiting for q in (queue, other)] == [3, 2]
    judge(queue, curators[0], GOOD)
    assert standing.of(queue).done == 0
    standing.forget(queue)
    assert standing.of(queue).done == 1


def test_a_large_queue_is_counted_once_in_a_while(
    make_queue: MakeQueue, curators: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.clear()
    monkeypatch.setattr(standing, "LARGE", 3)
    queue = make_queue(3)
    assert standing.of(queue).done == 0
    judge(queue, curators[0], GOOD)
    standing.forget(queue)
    assert standing.of(queue).done == 0
    # What decides something counts for itself.
    assert standing.of_all([queue])[queue.pk].done == 1
    cache.clear()
    assert standing.of(queue).done == 1


def test_many_queues_are_counted_in_two_queries(
    make_queue: MakeQueue, django_assert_num_queries: Any
) -> None:
    cache.clear()
    queues = [make_queue(1) for _ in range(5)]
    with django_assert_num_queries(2):
        standing.of_each(queues)
    with django_assert_num_queries(0):
        standing.of_each(queues)
