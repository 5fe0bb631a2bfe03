# SPDX-License-Identifier: Apache-2.0
"""How many requests one engine gets at a time: halved on trouble, grown by answers."""

from __future__ import annotations

HALVING_SECONDS = 1.0
# Each answer adds so much: a fifth more with every round of the window.
GROWTH = 0.2
# Near the size at which there was trouble last it grows more slowly, so that an engine
# which is simply full refuses one request in sixty and not one in twenty.
CAREFUL_GROWTH = 0.05
CAREFUL = (0.8, 1.25)


class Window:
    """The places at an engine; at least one, at most `target`.

    Pure: the caller gives the time, in seconds of any one clock. From one place it is
    at its target again after at most 20 answers for each place, without trouble.
    """

    def __init__(self, target: int) -> None:
        self.target = max(1, target)
        self._limit = float(self.target)
        self._halved_at: float | None = None
        self._trouble_at = float("inf")

    @property
    def places(self) -> int:
        """The most requests in flight now."""
        return int(self._limit)

    def resize(self, target: int) -> None:
        """The same engine has another number of places; one in trouble stays so."""
        was_full = self._limit >= self.target
        self.target = max(1, target)
        self._limit = float(
            self.target if was_full else min(self._limit, float(self.target))
        )

    def trouble(self, now: float) -> None:
        """A request failed: halve, once a second, for one hiccup fails many at once."""
        if self._halved_at is None or now - self._halved_at >= HALVING_SECONDS:
            self._halved_at = now
            self._trouble_at = self._limit
            self._limit = max(1.0, self._limit / 2)

    def refused(self, now: float, beside: int) -> None:
        """The engine was too busy for a request beside `beside` others.

        It has no more places than these. Without this bound each refused request would
        at once be followed by the next one.
        """
        self.trouble(now)
        self._limit = max(1.0, min(self._limit, float(beside)))
        self._trouble_at = max(1.0, min(self._trouble_at, float(beside)))

    def answered(self) -> None:
        """A request succeeded: grow."""
        low, high = (bound * self._trouble_at for bound in CAREFUL)
        step = CAREFUL_GROWTH if low <= self._limit <= high else GROWTH
        # Rounded: twenty small steps shall make a whole place.
        self._limit = min(float(self.target), round(self._limit + step, 6))
