# SPDX-License-Identifier: Apache-2.0
"""A broken connection to a managed engine: did it die, and who is suspected of it?"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.models import Batch, Engine, EngineEvent, ServedModel, Suspect
from jobs.runner import BLAME_SECONDS
from tests.conftest import MakeBatch
from tests.engine_process import engine_process
from tests.site import wait_for

from .rows import running_batch, with_wishes
from .ticks import WORKER, Ticks

pytestmark = pytest.mark.django_db


@dataclass
class Managed:
    """A loaded engine whose host is this test, its feeder, and a batch in flight."""

    pid: int
    ticks: Ticks
    batch: Batch

    def in_flight(self) -> int:
        self.ticks.tick()
        return self.ticks.feeder.submitter.in_flight

    def waits(self) -> bool:
        """Whether the feeder waits for the host's word about the start it knew."""
        self.ticks.tick()
        return self.ticks.feeder._halted_at is not None


@pytest.fixture
def managed(make_batch: MakeBatch, tmp_path: Path) -> Iterator[Managed]:
    socket = str(tmp_path / "e.sock")
    model = ServedModel.objects.create(name="tiny", source="/m")
    Engine.objects.create(
        name="gpu0",
        kind=Engine.Kind.MANAGED,
        state=Engine.State.READY,
        socket_path=socket,
        loaded_model=model,
        generation=3,
        worker_token=WORKER,
    )
    batch = running_batch(make_batch, chunks=(2,))
    with_wishes(batch, delay=60)
    with engine_process("--uds", socket) as (_, pid):
        ticks = Ticks("gpu0")
        made = Managed(pid, ticks, batch)
        wait_for(lambda: made.in_flight() == 2, what="both requests in flight")
        yield made
        ticks.end()


def test_a_death_is_blamed_although_the_host_sees_it_late(managed: Managed) -> None:
    os.kill(managed.pid, signal.SIGKILL)
    wait_for(managed.waits, what="the broken connection")
    feeder = managed.ticks.feeder
    assert feeder._halted_at is not None
    # A busy host, or an engine that writes its memory to a disk.
    feeder._halted_at -= 10
    assert managed.waits()
    assert not Suspect.objects.exists()
    engine = Engine.objects.get()
    EngineEvent.objects.create(engine=engine, generation=3, kind="died")
    Engine.objects.update(state=Engine.State.LOADING, generation=4)
    assert not managed.waits()
    assert set(Suspect.objects.values_list("request", flat=True)) == set(
        managed.batch.requests.values_list("pk", flat=True)
    )


def test_an_engine_without_a_word_of_its_host_is_given_up_in_the_end(
    managed: Managed,
) -> None:
    os.kill(managed.pid, signal.SIGKILL)
    wait_for(managed.waits, what="the broken connection")
    feeder = managed.ticks.feeder
    assert feeder._halted_at is not None
    feeder._halted_at -= BLAME_SECONDS
    assert not managed.waits()
    assert not Suspect.objects.exists()


def test_an_engine_that_is_well_is_asked_again_at_once(managed: Managed) -> None:
    feeder = managed.ticks.feeder
    feeder._call(lambda: feeder.submitter._stop("reset by peer", died=True))
    # As after a reset of all connections: nothing is in flight any more.
    feeder._call(feeder.submitter.abort)
    wait_for(lambda: not feeder._call(lambda: feeder.submitter.busy), what="the end")
    assert feeder._call(feeder.submitter.snapshot).halt is not None
    assert not managed.waits()
    assert not Suspect.objects.exists()
    wait_for(lambda: managed.in_flight() == 2, what="both requests again")
