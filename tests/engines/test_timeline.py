# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from jobs.engines import timeline
from jobs.engines.hostrow import HostRow, LostToken
from jobs.engines.rowcopy import RowCopy
from jobs.engines.timeline import Timeline, recorded_swaps, swaps
from jobs.models import Engine, EngineEvent

pytestmark = pytest.mark.django_db
State = Engine.State


def event(old: str, new: str, seconds: float, model: str) -> EngineEvent:
    return EngineEvent(old_state=old, new_state=new, seconds=seconds, model=model)


def swap_of(*, end: str = "ready", new: str = "b") -> list[EngineEvent]:
    return [
        event("loading", "ready", 30, "a"),
        event("ready", "draining", 600, "a"),
        event("draining", "stopping", 2, "a"),
        event("stopping", "stopped", 1, "a"),
        event("stopped", "loading", 0.5, new),
        event("loading", end, 12, new),
    ]


def test_a_swap_is_what_lies_between_two_models_that_are_ready() -> None:
    (swap,) = swaps(swap_of())
    assert (swap.old, swap.new) == ("a", "b")
    assert swap.seconds == {
        "draining": 2,
        "stopping": 1,
        "stopped": 0.5,
        "loading": 12,
    }
    assert (swap.total, swap.overhead) == (15.5, 3.5)
    # Two models that fail, one that comes back after a crash, a wish taken back.
    assert swaps(swap_of(end="failed")) == []
    assert swaps(swap_of(new="a")) == []
    back = [event("ready", "draining", 5, "a"), event("draining", "ready", 1, "a")]
    assert swaps(back) == []
    restarted = swap_of()
    restarted.insert(4, EngineEvent(kind="host"))
    assert swaps(restarted) == []


def test_moves_are_told_with_the_columns_or_not_at_all() -> None:
    row = HostRow("gpu0")
    row.acquire()
    copy = RowCopy(row)
    copy.model = "a"
    copy.columns |= {"generation": 3, "loaded_model_id": None, "gauges": {}}
    copy.move(State.LOADING, "starts a")
    copy.move(State.LOADING, "loading a for 1 s")
    copy.note(EngineEvent.Kind.PAUSED, "given up", paused=True)
    token, row.token = row.token, "another's"
    with pytest.raises(LostToken):
        copy.flush()
    assert not EngineEvent.objects.exists()
    row.token = token
    copy.flush()
    engine = Engine.objects.get()
    assert (engine.state, engine.paused) == (State.LOADING, True)
    moved, paused = engine.events.all()
    assert (moved.old_state, moved.new_state) == ("stopped", "loading")
    assert (moved.model, moved.generation, moved.reason) == ("a", 3, "starts a")
    assert (paused.kind, paused.new_state, paused.seconds) == ("paused", "", None)
    # A person's word is not undone by the next heartbeat.
    Engine.objects.update(paused=False)
    copy.flush()
    assert not Engine.objects.get().paused
    assert engine.events.count() == 2


def test_events_wait_for_the_database_and_the_oldest_go_when_it_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine.objects.create(name="gpu0", kind="managed")
    told = Timeline(engine.pk)
    for number in range(timeline.MOST_WAITING + 3):
        told.note(reason=str(number))
    with transaction.atomic():
        saved = told.save()
        transaction.set_rollback(True)
    assert told.save() == saved == timeline.MOST_WAITING
    told.forget(saved)
    assert told.save() == 0
    first = engine.events.first()
    assert first is not None
    assert first.reason == "3"


def test_events_older_than_30_days_go() -> None:
    engine = Engine.objects.create(name="gpu0", kind="managed")
    for days in (40, 31, 29, 0):
        EngineEvent.objects.create(
            engine=engine, at=timezone.now() - timedelta(days=days)
        )
    assert timeline.old_events()
    assert timeline.prune() == "deleted 2 events"
    assert not timeline.old_events()
    assert engine.events.count() == 2


def test_a_benchmark_can_ask_for_the_swaps_since_it_began() -> None:
    engine = Engine.objects.create(name="gpu0", kind="managed")
    for made in swap_of():
        made.engine = engine
        made.save()
    assert [swap.overhead for swap in recorded_swaps("gpu0")] == [3.5]
    assert recorded_swaps("gpu0", since=timezone.now()) == []
    assert recorded_swaps("gpu1") == []
