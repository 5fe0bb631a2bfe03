# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from jobs import speeds
from jobs.models import Batch, Engine, Measurement, ServedModel, ThroughputSample, Usage
from jobs.occupancy import Occupancy
from jobs.sampling import Sampler
from jobs.writer import Writer, Written
from tests.conftest import MakeBatch

from .rows import answer, claim_next, external_engine, running_batch

pytestmark = pytest.mark.django_db


class Site:
    """A feeder's sampler, writer and occupancy, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.engine: Engine | None = None
        self.writer = Writer(
            on_lost=lambda lease: None, on_stored=lambda count, size: None
        )
        self.occupancy = Occupancy(lambda: self.now)
        self.sampler = Sampler(self.writer.take_tally, self.occupancy.take)

    def sample(self, *, seconds: float = 10, idle: bool = False) -> None:
        self.now += seconds
        assert self.engine is not None
        self.sampler.sample(self.engine, window=4, idle=idle)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made: list[Site] = []
    monkeypatch.setattr(
        "jobs.sampling.time.monotonic", lambda: made[0].now if made else 1000.0
    )
    made.append(Site())
    made[0].engine = external_engine()
    ServedModel.objects.create(name="tiny")
    return made[0]


def run(site: Site, make_batch: MakeBatch, rows: int) -> Any:
    batch = running_batch(make_batch, chunks=[rows])
    assert site.engine is not None
    claim = claim_next(site.engine)
    assert claim is not None

    def finish(place: int) -> Batch:
        result = answer(claim, place, latency_ms=9000, cached_tokens=2)
        site.writer._store(
            claim.lease, [Written(claim.lease, result, False, False, "tiny")]
        )
        return batch

    return finish


def test_samples_each_ten_seconds_and_a_measurement_each_minute(
    site: Site, make_batch: MakeBatch
) -> None:
    finish = run(site, make_batch, 6)
    batch = finish(0)
    site.occupancy.change((batch.pk, "tiny"), 2)
    site.sample()
    site.sample(seconds=9)
    assert ThroughputSample.objects.count() == 1
    for place in (1, 2):
        finish(place)
        site.sample()
    # Long answers: nothing came, and yet the engine was at work.
    site.sample(seconds=20)
    assert not Measurement.objects.exists()
    site.sample()
    samples = ThroughputSample.objects.order_by("pk")
    assert [(s.rows, s.seconds, s.engine_seconds) for s in samples] == [
        *((1, 10.0, 10.0), (1, 19.0, 19.0), (1, 10.0, 10.0), (0, 20.0, 20.0)),
        (0, 10.0, 10.0),
    ]
    assert sum(s.request_seconds for s in samples) == pytest.approx(138)
    # The batch's owner is told the same.
    used = Usage.objects.get(user=batch.owner, team=batch.team, model=batch.model)
    assert (used.engine_seconds, used.answered) == pytest.approx((69, 0))
    one = Measurement.objects.get()
    assert (one.rows, one.input_tokens, one.cached_tokens) == (3, 15, 6)
    assert (one.output_tokens, one.seconds) == pytest.approx((21, 69))
    assert (one.latency, one.concurrency) == pytest.approx((9, 2))
    assert (one.hardware, one.window) == ("the server ext", 4)
    assert speeds.tokens_per_second("tiny") == pytest.approx(21 / 69)
    assert speeds.tokens_per_second("never measured") == 1000


def test_a_run_of_two_seconds_is_measured_when_the_engine_falls_idle(
    site: Site, make_batch: MakeBatch
) -> None:
    finish = run(site, make_batch, 3)
    site.sample(seconds=500, idle=True)
    site.sample(seconds=4, idle=True)
    # All of it between two heartbeats.
    site.now += 1
    batch = finish(0)
    site.occupancy.change((batch.pk, "tiny"), 1)
    site.now += 2
    site.occupancy.change((batch.pk, "tiny"), -1)
    site.sample(seconds=1, idle=True)
    sample = ThroughputSample.objects.get()
    assert (sample.seconds, sample.engine_seconds) == pytest.approx((4, 2))
    assert Measurement.objects.get().seconds == pytest.approx(2)
    site.sample(seconds=4, idle=True)
    assert ThroughputSample.objects.count() == 1


def test_what_runs_alike_within_an_hour_is_one_measurement(
    site: Site, make_batch: MakeBatch
) -> None:
    finish = run(site, make_batch, 4)
    for place, at_once in enumerate((1, 1, 4)):
        batch = finish(place)
        site.occupancy.change((batch.pk, "tiny"), at_once)
        site.now += 3
        site.occupancy.change((batch.pk, "tiny"), -at_once)
        site.sample(seconds=0, idle=True)
    # Four at once are another thing than one.
    small, large = Measurement.objects.order_by("pk")
    assert (small.rows, small.seconds) == pytest.approx((2, 6))
    assert (large.rows, large.seconds) == pytest.approx((1, 3))


def test_a_managed_engine_is_known_by_hardware_and_arguments(
    site: Site, make_batch: MakeBatch
) -> None:
    model = ServedModel.objects.get()
    model.engine_args, model.revision = ["--max-num-seqs", "8"], "abc"
    model.save(update_fields=["engine_args", "revision"])
    finish = run(site, make_batch, 2)
    batch = finish(0)
    site.engine = Engine.objects.create(
        name="gpu0", kind="managed", gauges={"hardware": "1 x NVIDIA L4"}
    )
    site.occupancy.change((batch.pk, "tiny"), 1)
    site.sample(seconds=60)
    one = Measurement.objects.get()
    assert (one.hardware, one.engine_args, one.revision) == (
        *("1 x NVIDIA L4", "--max-num-seqs 8", "abc"),
    )
