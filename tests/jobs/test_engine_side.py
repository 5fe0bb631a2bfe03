# SPDX-License-Identifier: Apache-2.0
"""What a feeder reads from and writes to its engine's row: models, wishes, limits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs import engine_side
from jobs.flight import Halt, Target
from jobs.models import (
    BatchRequest,
    Engine,
    EngineEvent,
    EngineModel,
    ServedModel,
    Suspect,
)
from tests.conftest import MakeBatch

from .rows import external_engine, running_batch
from .test_attendance import managed_engine, wanted

pytestmark = pytest.mark.django_db


def test_what_an_engine_at_work_holds_is_left_to_it(make_batch: MakeBatch) -> None:
    a, b = (ServedModel.objects.create(name=n, source=f"/{n}") for n in "ab")
    long_ago = timezone.now() - timedelta(hours=1)
    alive: dict[str, Any] = {"worker_token": "w", "worker_heartbeat": timezone.now()}
    ready: dict[str, Any] = {
        "state": Engine.State.READY,
        "socket_path": "/s",
        "state_since": long_ago,
    }
    engine = managed_engine(loaded_model=a, **ready, **alive)
    other = managed_engine(name="gpu1", loaded_model=b, **ready, **alive)
    for name in "ab":
        running_batch(make_batch, model=name, created_at=long_ago)
    assert wanted(engine) is None
    assert engine_side.held_elsewhere(engine) == {"b"}
    # What it is about to hold counts, and not what it lets go of.
    Engine.objects.filter(pk=other.pk).update(wanted_model=a)
    assert engine_side.held_elsewhere(engine) == {"a"}
    assert wanted(engine) == b
    Engine.objects.filter(pk=other.pk).update(wanted_model=None, paused=True)
    assert engine_side.held_elsewhere(engine) == frozenset()
    assert wanted(engine) == b
    # An external engine that serves it does as well.
    outside = external_engine()
    EngineModel.objects.create(engine=outside, served_model=b, remote_name="b")
    assert wanted(engine) == b
    Engine.objects.filter(pk=outside.pk).update(**alive)
    assert wanted(engine) is None


def test_a_wish_says_what_is_still_in_flight() -> None:
    model = ServedModel.objects.create(name="a", source="/a")
    engine = managed_engine()
    # Else the host would take an old 0 for an engine that is done.
    assert engine_side.want(engine, model, in_flight=7)
    engine.refresh_from_db()
    assert (engine.wanted_model, engine.in_flight) == (model, 7)


def test_models_with_a_limit_of_their_own_have_it_on_every_engine() -> None:
    slow = ServedModel.objects.create(name="slow", source="/s", request_timeout=1800)
    quick = ServedModel.objects.create(name="quick", source="/q")
    engine = managed_engine(
        state=Engine.State.READY, socket_path="/s", loaded_model=slow
    )
    target = engine_side.target_of(engine)
    assert target is not None
    assert target.timeouts == {"slow": 1800.0}
    outside = external_engine()
    for model in (slow, quick):
        EngineModel.objects.create(engine=outside, served_model=model, remote_name="x")
    target = engine_side.target_of(outside)
    assert target is not None
    assert target.timeouts == {"slow": 1800.0}


def test_a_swap_that_was_asked_for_leaves_no_suspects(make_batch: MakeBatch) -> None:
    running_batch(make_batch)
    request = BatchRequest.objects.first()
    assert request is not None
    engine = managed_engine(state=Engine.State.LOADING, generation=4)
    target = Target(1, 3, 8, managed=True, provenance={})
    halt = Halt("gone", died=True, lost=(request.pk,))
    # The host was quicker than the feeder: the next model is on its way already.
    engine_side.blame(engine, target, halt, asked=True)
    assert not Suspect.objects.exists()
    EngineEvent.objects.create(engine=engine, kind=EngineEvent.Kind.DIED, generation=3)
    engine_side.blame(engine, target, halt, asked=True)
    assert not Suspect.objects.exists()
    engine_side.blame(engine, target, halt)
    assert Suspect.objects.exists()
