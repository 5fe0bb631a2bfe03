# SPDX-License-Identifier: Apache-2.0
"""Which model an engine holds that holds one at a time.

Pure: the caller gives the time and what it sees. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .scheduling import AT_RISK_SECONDS, Work

# An engine spends at most a quarter of its time loading while work for what it holds
# waits.
STAY_LOADS = 3


@dataclass(frozen=True, slots=True)
class Patience:
    """For how long a model stays while it has work.

    `stay`: for so long in any case; `wait`: no longer when others wait for as long.
    """

    stay: float
    wait: float

    @classmethod
    def of(cls, *, stay: float, wait: float, load_seconds: float) -> Patience:
        """As set for the site, and not out of proportion to what a load takes."""
        stay = max(stay, STAY_LOADS * load_seconds)
        return cls(stay, max(stay, wait))


class Turns:
    """What an engine's feeder remembers, so that models and teams get their turns.

    A team's account is the time that the engine worked for it, over its weight. Who
    comes new starts even with who has had least: time that nobody else wanted is no
    debt.
    """

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._used: dict[int, float] = {}
        self._active: frozenset[int] = frozenset()
        self._noted_at: float | None = None
        self._jumped = False

    def note(
        self,
        work: Iterable[Work],
        *,
        loaded: str | None,
        load: Mapping[int, float],
        now: float,
    ) -> None:
        """Keep the accounts up to date; to be called often.

        `work` is all that waits for the engine or is in its feeder, `load` the
        requests in flight by team.
        """
        weights = {w.team: w.weight for w in work}
        least = min((self._used[team] for team in self._active), default=0.0)
        for team in sorted(weights.keys() - self._active):
            self._used[team] = max(self._used.get(team, 0.0), least)
        flying = {team: n for team, n in load.items() if n > 0 and team in weights}
        total = sum(flying.values())
        passed = 0.0 if self._noted_at is None else max(0.0, now - self._noted_at)
        for team, n in sorted(flying.items()):
            self._used[team] += passed * n / total / weights[team]
        self._noted_at, self._active = now, frozenset(weights)
        if loaded is not None:
            self._last[loaded] = now

    def choose(
        self,
        ranked: Sequence[Work],
        *,
        loaded: str | None,
        loaded_since: float,
        now: float,
        patience: Patience,
        elsewhere: Collection[str] = (),
    ) -> str | None:
        """The model to hold; None: nothing to do, keep what is loaded.

        `ranked` is all work in the order of rank(). A model with work stays, unless
        another one waits for `patience.wait`, its team is behind by as much, or its
        work is urgent. The batch whose work for the loaded model comes next waits for
        nothing: it is served. So is what other engines hold (`elsewhere`).
        """
        here = [w for w in ranked if w.model == loaded]
        others = [w for w in ranked if w.model != loaded]
        waiting = [
            w
            for w in others
            if w.model not in elsewhere and not (here and w.batch == here[0].batch)
        ]
        held = now - loaded_since
        overdue = [w for w in waiting if now - self._since(w) >= patience.wait]
        longest = min(
            overdue, key=lambda w: (self._since(w), w.batch, w.model), default=None
        )
        if not here:
            # After a start nobody was passed over yet.
            first = (longest if self._last else None) or next(
                iter(waiting or others), None
            )
            return self._take(first, jumps=False)
        if held < patience.stay:
            return loaded
        if longest is not None and held >= patience.wait:
            return self._take(longest, jumps=False)
        for work in waiting:
            if self._is_behind(work, here, patience) or (
                self.is_urgent(work, here, now=now)
                and self._lead(work, here) <= patience.stay
            ):
                # No two in a row jump the queue of those who waited long enough.
                if self._jumped and longest is not None:
                    return self._take(longest, jumps=False)
                return self._take(work, jumps=True)
        return loaded

    def _take(self, work: Work | None, *, jumps: bool) -> str | None:
        self._jumped = jumps
        return None if work is None else work.model

    def _since(self, work: Work) -> float:
        """From when on the work waits: it came, or its model was loaded last."""
        return max(work.created, self._last.get(work.model, work.created))

    def _lead(self, work: Work, here: Sequence[Work]) -> float:
        """Seconds of the engine that the work's team had more than any team of `here`.

        In its own time: with a weight of 3, one second less on the account is three.
        """
        used = {w.team: self._used.get(w.team, 0.0) for w in (work, *here)}
        return (used[work.team] - min(used[w.team] for w in here)) * work.weight

    def _is_behind(self, work: Work, here: Sequence[Work], patience: Patience) -> bool:
        """Whether the engine owes the work's team a turn of full length."""
        return self._lead(work, here) <= -patience.wait

    @staticmethod
    def is_urgent(work: Work, here: Sequence[Work], *, now: float) -> bool:
        """Whether the work need not wait for as long as others do.

        It has a higher priority than all that its team has for the loaded model, or the
        same and a deadline at risk. A team with nothing there says so by a priority
        above 0, or by the deadline of work of priority 0.
        """

        def standing(w: Work) -> tuple[int, bool]:
            return (w.priority, w.expires - now < AT_RISK_SECONDS)

        own = [standing(w) for w in here if w.team == work.team]
        return standing(work) > max(own, default=(0, False))
