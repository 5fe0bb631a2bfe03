# SPDX-License-Identifier: Apache-2.0
"""Who has requests in flight at an engine, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

# A batch's key and the model of the requests.
Work: TypeAlias = tuple[int, str]


@dataclass(slots=True)
class Stay:
    """What one batch had of an engine.

    `engine_seconds` is its share of the engine's time, by requests in flight: alone it
    has all of it. `request_seconds` are its requests in flight, added up over time.
    """

    engine_seconds: float = 0.0
    request_seconds: float = 0.0

    def merge(self, other: Stay) -> None:
        """Take in what another one has."""
        self.engine_seconds += other.engine_seconds
        self.request_seconds += other.request_seconds


class Occupancy:
    """Adds up stays, in constant time for each request that comes or goes.

    `_shared` is a clock that runs slower the more requests are in flight: while a
    request is there it gains the seconds of the engine that are that request's.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now = clock()
        self._shared = 0.0
        self._total = 0
        # By work: requests in flight, and both clocks when that last changed.
        self._present: dict[Work, tuple[int, float, float]] = {}
        self._stays: dict[Work, Stay] = {}

    def change(self, work: Work, requests: int) -> None:
        """So many requests of the work come, or go if negative."""
        self._advance()
        here = self._settle(work) + requests
        self._total += requests
        if here:
            self._present[work] = (here, self._now, self._shared)
        else:
            self._present.pop(work, None)

    def take(self) -> dict[Work, Stay]:
        """The stays since the last call, also of what is still in flight."""
        self._advance()
        for work in list(self._present):
            self._present[work] = (self._settle(work), self._now, self._shared)
        taken, self._stays = self._stays, {}
        return taken

    def _advance(self) -> None:
        now = self._clock()
        if self._total:
            self._shared += (now - self._now) / self._total
        self._now = now

    def _settle(self, work: Work) -> int:
        """Add what the work had since its last change; its requests in flight."""
        here, since, shared = self._present.get(work, (0, self._now, 0.0))
        if self._now > since:
            stay = self._stays.setdefault(work, Stay())
            stay.engine_seconds += here * (self._shared - shared)
            stay.request_seconds += here * (self._now - since)
        return here
