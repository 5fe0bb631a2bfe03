# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import estimates
from jobs.models import Measurement, ServedModel, ThroughputSample
from jobs.sampling import Sampler
from jobs.writer import Writer, Written
from tests.conftest import MakeBatch

from .rows import answer, claim_next, external_engine, running_batch

pytestmark = pytest.mark.django_db


class Clock:
    """time.monotonic under the test's control."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("jobs.sampling.time.monotonic", made)
    return made


def test_samples_each_ten_seconds_and_a_measurement_each_minute(
    make_batch: MakeBatch, clock: Clock
) -> None:
    model = ServedModel.objects.create(name="tiny")
    engine = external_engine()
    batch = running_batch(make_batch, chunks=[6])
    claim = claim_next(engine)
    assert claim is not None
    writer = Writer(on_lost=lambda lease: None, on_stored=lambda count, size: None)
    sampler = Sampler()
    ThroughputSample.objects.create(
        batch=batch,
        engine=engine,
        at=timezone.now() - timedelta(hours=2),
        seconds=10,
        rows=1,
        input_tokens=1,
        output_tokens=1,
    )
    for place in range(3):
        result = answer(claim, place)
        writer._store(claim.lease, [Written(claim.lease, result, False, False)])
        clock.now += 10
        sampler.sample(engine, writer)
    fresh = ThroughputSample.objects.filter(at__gt=timezone.now() - timedelta(hours=1))
    assert [(s.rows, s.output_tokens, s.seconds) for s in fresh] == [(1, 7, 10.0)] * 3
    assert not Measurement.objects.exists()
    # Half a minute without results is no part of the speed.
    for _ in range(3):
        clock.now += 10
        sampler.sample(engine, writer)
    measured = Measurement.objects.get()
    assert (measured.rows, measured.output_tokens, measured.seconds) == (3, 21, 30.0)
    assert ThroughputSample.objects.count() == 3
    assert estimates.tokens_per_second("tiny") == pytest.approx(0.7)
    assert estimates.tokens_per_second("never measured") == 1000
    assert model.measurements.count() == 1


def test_nothing_is_written_within_ten_seconds(clock: Clock) -> None:
    writer = Writer(on_lost=lambda lease: None, on_stored=lambda count, size: None)
    sampler = Sampler()
    clock.now += 9
    sampler.sample(external_engine(), writer)
    assert not ThroughputSample.objects.exists()
