# SPDX-License-Identifier: Apache-2.0
"""When a feeder's suspects run: apart from all others, in parts as suspects.py says."""

from __future__ import annotations

import time
from collections.abc import Collection

from .claims import Row
from .flight import Held
from .suspects import next_suspect

# Suspects run last; after so many seconds they run before everything else.
SUSPECTS_WAIT = 60.0


class SuspectTurns:
    """Lives as long as its feeder's submitter, in whose loop it is used."""

    def __init__(self) -> None:
        # How many are in flight, and the group that they come from.
        self.flying = 0
        self._part = 0
        self._since: float | None = None

    def are_due(self, chunks: Collection[Held]) -> bool:
        """Whether suspects wait for too long; a steady queue must not starve them."""
        if not any(held.suspects for held in chunks):
            self._since = None
            return False
        if self._since is None:
            self._since = time.monotonic()
        return time.monotonic() - self._since > SUSPECTS_WAIT

    def next(
        self, chunks: Collection[Held], *, in_flight: int
    ) -> tuple[Held, Row] | None:
        """Take the one to start now; None: none, or others must end first."""
        if in_flight > self.flying:
            return None
        waiting = [(held, row) for held in chunks for row in held.suspects]
        place = next_suspect(
            [row for _, row in waiting], part=self._part, flying=self.flying
        )
        if place is None:
            return None
        held, row = waiting[place]
        held.suspects.remove(row)
        self.flying += 1
        self._part = row.suspect_group
        return held, row

    def have_landed(self) -> None:
        """Nothing is in flight any more."""
        self.flying = self._part = 0
