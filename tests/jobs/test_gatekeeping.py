# SPDX-License-Identifier: Apache-2.0
"""A feeder's ticks with gates that close and open, on the real test engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError
from pytest_django import Settings

from jobs import engine_side, health
from jobs.models import Chunk, Engine, EngineModel, ServedModel
from jobs.obstacles import read_site
from tests.conftest import MakeBatch
from tests.site import wait_for

from .rows import running_batch, with_wishes
from .ticks import WORKER, Ticks

pytestmark = pytest.mark.django_db
HOT = {"index": 0, "name": "L4", "temperature": 95, "slowdown": 93}
MORE_THAN_ANY_DISK = 10**18


@pytest.fixture
def engine(test_engine: str, settings: Settings) -> Engine:
    """An external engine with a worker, whose gates open without waiting."""
    settings.BATCHSITE_GATE_SECONDS = 0
    model = ServedModel.objects.create(name="tiny")
    made = Engine.objects.create(
        name="ext",
        kind="external",
        base_url=test_engine,
        state="ready",
        worker_token=WORKER,
    )
    EngineModel.objects.create(
        engine=made, served_model=model, remote_name="tiny", window=2
    )
    return made


@pytest.fixture
def ticking(engine: Engine) -> Iterator[Callable[[], Ticks]]:
    """Makes feeders, one after another; the one before ends."""
    made: list[Ticks] = []

    def make() -> Ticks:
        for ticks in made:
            ticks.end()
        made.append(Ticks())
        return made[-1]

    yield make
    for ticks in made:
        ticks.end()


@pytest.fixture
def ticks(ticking: Callable[[], Ticks]) -> Ticks:
    return ticking()


def gauge(**over: Any) -> None:
    """The engine's host wrote this of its one GPU."""
    Engine.objects.update(gauges={"gpus": [HOT | over], "gpu_faults": []})


def states() -> list[str]:
    chunks = Chunk.objects.order_by("start")
    return list(chunks.values_list("state", flat=True))


def closed() -> list[str]:
    return Engine.objects.get().gate_reasons


def test_a_hot_gpu_pauses_claims_and_a_cool_one_resumes_them(
    ticks: Ticks, make_batch: MakeBatch
) -> None:
    batch = running_batch(make_batch, chunks=(2,))
    gauge()
    ticks.tick()
    assert states() == ["pending"]
    assert closed() == ["GPU 0 is at 95 °C; claims go on below 85 °C"]
    # A batch that waits for this engine says why.
    Engine.objects.update(worker_heartbeat="2999-01-01T00:00:00Z")
    assert read_site().why_waiting("tiny") == (
        "the engine ext takes no new requests: GPU 0 is at 95 °C; claims go on below"
        " 85 °C"
    )
    assert ticks.feeder.idle_since is None
    assert engine_side.has_work(Engine.objects.get())
    gauge(temperature=90)
    ticks.tick()
    assert closed() == ["GPU 0 is at 90 °C; claims go on below 85 °C"]
    gauge(temperature=70)

    def done() -> bool:
        ticks.tick()
        batch.refresh_from_db()
        return batch.completed == 2

    wait_for(done)
    assert closed() == []
    assert read_site().why_waiting("tiny") is None


def test_what_is_in_flight_ends_and_the_rest_is_given_back(
    ticks: Ticks, make_batch: MakeBatch
) -> None:
    batch = running_batch(make_batch, chunks=(6,))
    with_wishes(batch, delay=1)
    ticks.tick()
    assert states() == ["leased"]
    gauge()

    def given_back() -> bool:
        ticks.tick()
        return states() == ["pending"]

    wait_for(given_back)
    batch.refresh_from_db()
    # The window's two had begun.
    assert batch.completed == 2


def test_a_full_disk_pauses_claims(
    ticking: Callable[[], Ticks], make_batch: MakeBatch, settings: Settings
) -> None:
    settings.BATCHSITE_MIN_FREE_BYTES = MORE_THAN_ANY_DISK
    running_batch(make_batch)
    ticking().tick()
    assert states() == ["pending"]
    (reason,) = closed()
    assert reason.startswith("the disk of the data folder has ")
    settings.BATCHSITE_MIN_FREE_BYTES = 0
    # The next worker finds nothing against it.
    ticking().tick()
    assert closed() == []
    # Claimed, and on a quick machine answered within the same tick.
    assert states() in (["leased"], ["done"])


def test_a_gate_does_not_end_with_the_feeder(
    ticking: Callable[[], Ticks], make_batch: MakeBatch, settings: Settings
) -> None:
    settings.BATCHSITE_GATE_SECONDS = 3600
    gauge()
    ticking().tick()
    running_batch(make_batch)
    gauge(temperature=40)
    ticking().tick()
    assert states() == ["pending"]
    assert closed() == ["GPU 0 is at 40 °C; claims go on after 3600 s like this"]


def test_results_that_cannot_be_stored_stop_claims_and_are_told(
    ticks: Ticks, make_batch: MakeBatch
) -> None:
    running_batch(make_batch, chunks=(1, 1, 1, 1, 1, 1))
    ticks.tick()
    held = states().count("leased")
    assert held < 6
    ticks.feeder._writer.trouble = "database or disk is full"
    ticks.feeder._tick()
    assert states().count("leased") == held
    assert closed() == [
        "the database takes nothing: database or disk is full; claims go on when it"
        " does"
    ]
    ticks.feeder._writer.trouble = ""
    ticks.tick()
    assert closed() == []


def test_an_outage_of_the_database_is_told_afterwards(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks.tick()
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began)
    ticks.feeder._gatekeeper.database_fails(OperationalError("server closed\0"))
    ticks.feeder._gatekeeper.database_fails(OperationalError("no route to host"))
    monkeypatch.setattr(time, "time", lambda: began + 34)
    ticks.tick()
    (ended,) = health.ended_gates(Engine.objects.get().gates)
    assert ended.cause == "the database takes nothing: server closed\\u0000"
    assert ended.until - ended.since == 34


def test_gates_are_written_when_they_change_and_by_the_holder_alone(
    ticks: Ticks, engine: Engine
) -> None:
    keeper = ticks.feeder._gatekeeper
    keeper.look(engine, trouble="")
    assert Engine.objects.get().gates == {}
    engine.gauges = {"gpus": [HOT]}
    Engine.objects.update(worker_token="another")
    assert keeper.look(engine, trouble="") == {"temperature of GPU 0"}
    assert Engine.objects.get().gates == {}
