# SPDX-License-Identifier: Apache-2.0
"""What happened to an engine and how long it took: kept for 30 days, read by people
and benchmarks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from jobs.models import Engine, EngineEvent

State = Engine.State
KEPT = timedelta(days=30)
SLICE = 1000
MOST_SLICES = 50
# Events that wait for the database; of a longer outage the last ones are told.
MOST_WAITING = 500


class Timeline:
    """One engine's events on their way to the database."""

    def __init__(self, engine: int) -> None:
        """`engine` is the primary key."""
        self._engine = engine
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MOST_WAITING)

    def note(self, **columns: Any) -> None:
        """An event of this moment."""
        self._waiting.append({"at": timezone.now(), **columns})

    def save(self) -> int:
        """Insert what waits, in the caller's transaction; how many.

        They wait on until forget(): the transaction may yet be rolled back.
        """
        if self._waiting:
            # Made anew each time: an instance remembers its key from a lost try.
            EngineEvent.objects.bulk_create(
                EngineEvent(engine_id=self._engine, **columns)
                for columns in self._waiting
            )
        return len(self._waiting)

    def forget(self, saved: int) -> None:
        """The first `saved` events are in the database for sure."""
        for _ in range(saved):
            self._waiting.popleft()


def died_unasked(engine: int, generation: int) -> bool:
    """Whether that start of the engine (primary key) ended without being asked to."""
    return EngineEvent.objects.filter(
        engine=engine, generation=generation, kind__in=EngineEvent.DEATHS
    ).exists()


@dataclass(frozen=True, slots=True)
class Swap:
    """A change of the loaded model: seconds spent in each state on the way.

    `end` is the event that says that the new model is ready.
    """

    end: int
    at: datetime
    old: str
    new: str
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Seconds without a ready engine, the finishing of requests included."""
        return sum(self.seconds.values())

    @property
    def overhead(self) -> float:
        """Seconds beyond loading."""
        return self.total - self.seconds.get(State.LOADING, 0.0)


def swaps(events: Iterable[EngineEvent]) -> list[Swap]:
    """The swaps in one engine's events, which come oldest first.

    A swap begins when a ready engine drains or stops, and ends when another model is
    ready. One that was taken back, that failed or that saw another host is none.
    """
    found = []
    spent: dict[str, float] | None = None
    old = ""
    for event in events:
        if event.kind == EngineEvent.Kind.HOST:
            spent = None
        if not event.new_state:
            continue
        if event.old_state == State.READY:
            leaving = event.new_state in (State.DRAINING, State.STOPPING)
            spent, old = ({} if leaving else None), event.model
        elif spent is not None:
            state = event.old_state
            spent[state] = spent.get(state, 0.0) + (event.seconds or 0.0)
            if event.new_state == State.READY and event.model != old:
                found.append(Swap(event.pk, event.at, old, event.model, spent))
            if event.new_state in (State.READY, State.FAILED):
                spent = None
    return found


def recorded_swaps(engine: str, *, since: datetime | None = None) -> list[Swap]:
    """The swaps of the engine of that name, oldest first, for figures of benchmarks."""
    events = EngineEvent.objects.filter(engine__name=engine).order_by("id")
    return swaps(events.filter(at__gte=since) if since else events)


def old_events() -> bool:
    """Whether the oldest event is older than 30 days."""
    return bool(_oldest(1))


def prune() -> str:
    """Delete events older than 30 days, oldest first; says how many."""
    gone = 0
    for _ in range(MOST_SLICES):
        keys = _oldest(SLICE)
        if not keys:
            break
        EngineEvent.objects.filter(pk__in=keys).delete()
        gone += len(keys)
    return f"deleted {gone} events"


def _oldest(most: int) -> list[int]:
    """Those of the first rows that are old; rows are made about in their times' order."""
    before = timezone.now() - KEPT
    first = EngineEvent.objects.order_by("id").values_list("pk", "at")
    return [key for key, at in first[:most] if at < before]
