# SPDX-License-Identifier: Apache-2.0
"""Samples get coarser with age, and nothing is lost before 30 days."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count, Sum
from django.utils import timezone

from jobs import ring
from jobs.chores import do_chore
from jobs.models import Batch, Engine, ThroughputSample
from tests.conftest import MakeBatch

from .rows import external_engine

pytestmark = pytest.mark.django_db


def fill(batch: Batch, engine: Engine, *, hours_ago: float, count: int) -> None:
    """Ten-second samples up to so many hours ago."""
    end = timezone.now() - timedelta(hours=hours_ago)
    ThroughputSample.objects.bulk_create(
        ThroughputSample(
            batch=batch,
            engine=engine,
            at=end - timedelta(seconds=10 * n),
            seconds=10.0,
            rows=2,
            input_tokens=3,
            output_tokens=100,
            engine_seconds=5.0,
            request_seconds=20.0,
        )
        for n in range(count)
    )


def sums() -> dict[str, Any]:
    return ThroughputSample.objects.aggregate(*(Sum(name) for name in ring.SUMMED))


def by_resolution() -> dict[int, int]:
    rows = ThroughputSample.objects.order_by("resolution").values_list("resolution")
    return dict(rows.annotate(Count("pk")))


def test_a_minute_after_an_hour_and_ten_after_a_day(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "SLICE", 77)
    batch, engine = make_batch(), external_engine()
    fill(batch, engine, hours_ago=0, count=60)
    assert not ring.wanted()
    fill(batch, engine, hours_ago=2, count=360)
    fill(batch, external_engine("b"), hours_ago=2, count=6)
    fill(batch, engine, hours_ago=48, count=360)
    before = sums()
    assert ring.wanted()
    do_chore("old samples")
    assert sums() == before
    found = by_resolution()
    assert found[10] == 60
    # 61 and 2 stretches of a minute, and those that slices cut
    assert 61 <= found[60] <= 80
    assert 6 <= found[600] <= 12
    assert not ring.wanted()
    assert do_chore("old samples") == "0 samples rolled up"


def test_after_thirty_days_they_go(make_batch: MakeBatch) -> None:
    batch, engine = make_batch(), external_engine()
    fill(batch, engine, hours_ago=31 * 24, count=6)
    ring.run()
    assert not ThroughputSample.objects.exists()


def test_a_stretch_is_rolled_up_once(make_batch: MakeBatch) -> None:
    """Two workers that read the same samples: the second one changes nothing."""
    fill(make_batch(), external_engine(), hours_ago=2, count=12)
    step = ring.STEPS[0]
    found = list(ring._old(step))
    before = sums()
    assert ring._roll_up(step, found)
    assert not ring._roll_up(step, found)
    assert sums() == before


def test_a_turn_ends_in_time(make_batch: MakeBatch) -> None:
    fill(make_batch(), external_engine(), hours_ago=2, count=12)
    assert ring.run(seconds=0) == "0 samples rolled up"
    assert ring.wanted()


def test_looks_by_age_use_their_index(make_batch: MakeBatch) -> None:
    if connection.vendor == "postgresql":
        # Of small tables it reads all, index or not.
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
    fill(make_batch(), external_engine(), hours_ago=2, count=12)
    assert "sample_by_age" in ring._old(ring.STEPS[0]).explain()
