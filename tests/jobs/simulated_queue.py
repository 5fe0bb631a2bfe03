# SPDX-License-Identifier: Apache-2.0
"""Engines and batches in simulated time, moved by the scheduler's pure functions alone.

Each engine's feeder does what runner.py and submitter.py do: a tick at which it looks
for another model and claims chunks, and a window that is filled whenever a place is
free. What must hold at every moment is checked on the way, see `broken`.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from jobs.scheduling import Shares, Work, next_claim, rank
from jobs.turns import Patience, Turns

TICK = 1.0
HURRY = 0.1
CHUNK = 8
DRAIN = 6.0
STAY = 4.0
WAIT = 30.0


@dataclass(frozen=True)
class Submission:
    """A batch that arrives at `at`: rows that take `seconds` each."""

    batch: int
    at: float
    rows: int
    seconds: float
    team: int = 1
    weight: int = 1
    priority: int = 0
    model: str = "a"
    expires_after: float = 90_000.0

    @property
    def work(self) -> Work:
        return Work(
            self.batch,
            self.team,
            self.weight,
            self.priority,
            self.model,
            self.at,
            self.at + self.expires_after,
        )


@dataclass(frozen=True)
class Machine:
    """An engine with so many places; it swaps models in `load` seconds, or never."""

    places: int
    load: float = 2.0
    swaps: bool = True


@dataclass
class Chunk:
    """Rows of one work: `queued` here, `flying` at the engine."""

    work: Work
    queued: int
    flying: int = 0


@dataclass
class Feeder:
    """One engine and what its feeder holds; None is loaded at first."""

    number: int
    machine: Machine
    turns: Turns = field(default_factory=Turns)
    held: list[Chunk] = field(default_factory=list)
    shares: Shares = field(default_factory=Shares)
    loaded: str | None = None
    wanted: str | None = None
    since: float = 0.0
    drain_until: float | None = None
    # Rows of an earlier generation end unheard.
    generation: int = 0
    idle_since: float | None = None

    @property
    def in_flight(self) -> int:
        return sum(chunk.flying for chunk in self.held)

    def queued(self) -> dict[Work, int]:
        counts: Counter[Work] = Counter()
        for chunk in self.held:
            counts[chunk.work] += chunk.queued
        return {work: n for work, n in counts.items() if n}

    def can_run(self, work: Work) -> bool:
        """Whether a place may be given to the work now."""
        if not self.machine.swaps:
            return True
        return self.loaded == work.model and self.wanted is None


@dataclass(frozen=True)
class Swap:
    """An engine lets go of a model; `held` seconds after its load, with work left or not."""

    at: float
    engine: int
    model: str
    old: str | None
    held: float
    had_work: bool


class Simulation:
    """Runs the submissions until all is done or `until`; what happened is in the lists."""

    def __init__(
        self, machines: Iterable[Machine], submissions: Iterable[Submission]
    ) -> None:
        self.now = 0.0
        self.feeders = [Feeder(n, machine) for n, machine in enumerate(machines)]
        self.seconds: dict[int, float] = {}
        self.pending: dict[Work, deque[int]] = {}
        self.open: Counter[Work] = Counter()
        self.waits_since: dict[Work, float] = {}
        self.started: list[tuple[float, int, Work]] = []
        self.ended: dict[int, float] = {}
        self.ready: list[tuple[float, int, str]] = []
        self.swaps: list[Swap] = []
        self.cut_off = 0
        self.broken: list[str] = []
        self._order = itertools.count()
        self._events: list[tuple[float, int, str, tuple[object, ...]]] = []
        self._arriving = 0
        for one in sorted(submissions, key=lambda s: (s.at, s.batch)):
            self._at(one.at, "arrive", one)
            self._arriving += 1
        for feeder in self.feeders:
            self._at(0.0, "tick", feeder)

    def run(self, until: float = float("inf")) -> Simulation:
        while self._events and self._events[0][0] <= until:
            self.now, _, kind, arguments = heapq.heappop(self._events)
            if kind == "tick" and not self._arriving and not +self.open:
                continue
            getattr(self, f"_{kind}")(*arguments)
            self._check()
        return self

    def _at(self, when: float, kind: str, *arguments: object) -> None:
        heapq.heappush(self._events, (when, next(self._order), kind, arguments))

    # --- events

    def _arrive(self, one: Submission) -> None:
        self._arriving -= 1
        work = one.work
        self.seconds[one.batch] = one.seconds
        full, rest = divmod(one.rows, CHUNK)
        self.pending[work] = deque([CHUNK] * full + [rest] * bool(rest))
        self.open[work] = one.rows
        self.waits_since[work] = self.now

    def _tick(self, feeder: Feeder) -> None:
        claimed = 0
        if not feeder.machine.swaps or not self._swap(feeder):
            claimed = self._claim(feeder)
        hungry = sum(feeder.queued().values()) < feeder.machine.places
        pause = HURRY if claimed and hungry else TICK
        self._at(self.now + pause, "tick", feeder)

    def _row_end(self, feeder: Feeder, generation: int, chunk: Chunk) -> None:
        if generation != feeder.generation:
            return
        chunk.flying -= 1
        feeder.shares.take_back(chunk.work)
        self.open[chunk.work] -= 1
        if not self.open[chunk.work]:
            self.ended[chunk.work.batch] = self.now
        if not chunk.flying and not chunk.queued:
            feeder.held.remove(chunk)
        self._fill(feeder)

    def _loaded(self, feeder: Feeder) -> None:
        feeder.loaded, feeder.wanted, feeder.since = feeder.wanted, None, self.now
        assert feeder.loaded is not None
        self.ready.append((self.now, feeder.number, feeder.loaded))

    # --- what a feeder does

    def claimable(self) -> list[Work]:
        return [work for work, chunks in self.pending.items() if chunks]

    def _swap(self, feeder: Feeder) -> bool:
        """As swaps.Swaps.is_on_the_way, and the host's part of it."""
        works = {*self.claimable(), *(chunk.work for chunk in feeder.held)}
        feeder.turns.note(
            works, loaded=feeder.loaded, load=feeder.shares.load, now=self.now
        )
        if feeder.wanted is not None:
            self._drain(feeder)
            return True
        others = [other for other in self.feeders if other is not feeder]
        held = {(f.wanted or f.loaded) for f in others if f.machine.swaps}
        model = feeder.turns.choose(
            rank(works, load=self._rows_held(), now=self.now),
            loaded=feeder.loaded,
            loaded_since=feeder.since,
            now=self.now,
            patience=Patience.of(
                stay=STAY,
                wait=WAIT,
                load_seconds=feeder.machine.load if feeder.loaded else 0,
            ),
            elsewhere={name for name in held if name},
        )
        if model is None or model == feeder.loaded:
            return False
        had_work = any(w.model == feeder.loaded for w in works)
        self.swaps.append(
            Swap(
                self.now,
                feeder.number,
                model,
                feeder.loaded,
                self.now - feeder.since,
                had_work,
            )
        )
        feeder.wanted, feeder.drain_until = model, self.now + DRAIN
        self._give_back(feeder)
        return True

    def _rows_held(self) -> Counter[int]:
        load: Counter[int] = Counter()
        for feeder in self.feeders:
            for chunk in feeder.held:
                load[chunk.work.team] += chunk.queued + chunk.flying
        return load

    def _give_back(self, feeder: Feeder) -> None:
        for chunk in list(feeder.held):
            if chunk.queued:
                self.pending[chunk.work].appendleft(chunk.queued)
                self.waits_since[chunk.work] = self.now
                chunk.queued = 0
            if not chunk.flying:
                feeder.held.remove(chunk)

    def _drain(self, feeder: Feeder) -> None:
        """Wait for what is in flight, cut it off at the limit, then load."""
        if feeder.drain_until is None:
            return
        if feeder.in_flight and self.now < feeder.drain_until:
            return
        for chunk in feeder.held:
            self.cut_off += chunk.flying
            self.pending[chunk.work].appendleft(chunk.flying)
            self.waits_since[chunk.work] = self.now
        feeder.held.clear()
        feeder.shares.load.clear()
        feeder.generation += 1
        feeder.loaded, feeder.drain_until = None, None
        self._at(self.now + feeder.machine.load, "loaded", feeder)

    def _claim(self, feeder: Feeder) -> int:
        claimed = 0
        while True:
            work = next_claim(
                [w for w in self.claimable() if feeder.can_run(w)],
                queued=feeder.queued(),
                queued_bytes=0,
                window=feeder.machine.places,
                load=feeder.shares.load,
                now=self.now,
                spent=feeder.shares.spent,
            )
            if work is None:
                return claimed
            here = {chunk.work.team for chunk in feeder.held}
            if work.team not in here:
                feeder.shares.join(work.team, here)
            feeder.held.append(Chunk(work, self.pending[work].popleft()))
            claimed += 1
            self._fill(feeder)

    def _fill(self, feeder: Feeder) -> None:
        """As Submitter.fill()."""
        while feeder.in_flight < feeder.machine.places:
            waiting = [chunk for chunk in feeder.held if chunk.queued]
            if not waiting:
                return
            best = rank(
                {c.work for c in waiting},
                load=feeder.shares.load,
                now=self.now,
                spent=feeder.shares.spent,
            )[0]
            chunk = next(c for c in waiting if c.work == best)
            self._check_order(feeder, best)
            chunk.queued -= 1
            chunk.flying += 1
            feeder.shares.give(best)
            self.started.append((self.now, feeder.number, best))
            end = self.now + self.seconds[best.batch]
            self._at(end, "row_end", feeder, feeder.generation, chunk)

    # --- what must hold

    def _check(self) -> None:
        """No place is free for longer than a tick while a row could have it."""
        claimable = self.claimable()
        for feeder in self.feeders:
            idle = feeder.in_flight < feeder.machine.places and any(
                feeder.can_run(work) for work in (*feeder.queued(), *claimable)
            )
            if not idle:
                feeder.idle_since = None
            elif feeder.idle_since is None:
                feeder.idle_since = self.now
            elif self.now - feeder.idle_since > TICK:
                self.broken.append(f"{self.now}: engine {feeder.number} has a place")

    def _check_order(self, feeder: Feeder, chosen: Work) -> None:
        """Within a team priority, then deadlines at risk, then age decide."""
        queued = feeder.queued()
        for work in {*queued, *self.claimable()}:
            if (
                work.team == chosen.team
                and feeder.can_run(work)
                and self.waits_since[work] < self.now - 1.5 * TICK
                and all(
                    rank([work, chosen], load={}, now=now)[0] != chosen
                    for now in (self.now, self.now - 1.5 * TICK)
                )
            ):
                self.broken.append(f"{self.now}: {chosen} goes before {work}")
