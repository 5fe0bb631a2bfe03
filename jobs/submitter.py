# SPDX-License-Identifier: Apache-2.0
"""The feeder's event loop: a sliding window of requests over one engine.

All of it runs in the loop's thread. There is no barrier between chunks.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from .answers import (
    Judged,
    Verdict,
    error_result,
    judge,
    last_word,
    models_of,
    poisonous,
    result_of,
    too_large,
)
from .backoff import BUSY_STATUSES, TRIES, most_tries, pause_before_next
from .claims import Claim, Row
from .engines.client import (
    Answer,
    AnswerTooLarge,
    EngineClient,
    EngineRefused,
    EngineTimeout,
    EngineUnreachable,
)
from .flight import Halt, Held, Place, Snapshot, Target
from .models import Result
from .occupancy import Occupancy
from .recording import ChunkLease
from .scheduling import Shares, Work, rank
from .suspect_turns import SuspectTurns
from .window import Window
from .writer import GivenBack, Item, Written

logger = logging.getLogger(__name__)
BACKLOG = 1000
# Of the bodies in flight, and of the answers that are not stored yet.
MOST_CHARACTERS = 32_000_000
# After so many claims of a chunk a row that only ever fails gets its last answer.
ROUNDS = 3
LONGEST_WAIT = 30.0
# With more windows of rows between two tries the engine is in trouble; none is added.
MOST_RETRYING = 4
TOO_MANY_REQUESTS = 429


class Submitter:
    """Feeds one engine from claimed chunks; results go to `put` in the order they finish."""

    def __init__(self, *, put: Callable[[Item], None], timeout: float) -> None:
        self._put = put
        self._timeout = timeout
        self._client: EngineClient | None = None
        self._target: Target | None = None
        self._held: dict[int, Held] = {}
        self._tasks: dict[asyncio.Task[None], ChunkLease] = {}
        self._shares = Shares()
        self.occupancy = Occupancy()
        self._suspects = SuspectTurns()
        self._lost: list[int] = []
        self._halt: Halt | None = None
        self._window = Window(1)
        self._retrying = 0
        self._refused: dict[tuple[int, str], str] = {}
        self._flying_size = 0
        self._unwritten_size = 0
        self._woken = asyncio.Event()
        self.in_flight = 0
        self.unwritten = 0
        self.successes = 0
        self._queued = 0
        # Set when a request ends and a keeper may have something to do for it.
        self.stirred = threading.Event()

    # --- called by the keeper, through the loop

    def aim(self, client: EngineClient, target: Target) -> None:
        """Submit to this engine from now on."""
        self._client, self._target = client, target
        self._window = Window(target.window)
        self._halt = None
        self._lost = []
        self.fill()

    def adjust(self, target: Target) -> None:
        """The same server with another window, other names or another revision."""
        self._target = target
        self._window.resize(target.window)
        self.fill()

    def forget_refused(self) -> None:
        """The keeper has taken note of the refused batches."""
        self._refused = {}

    def add(self, claim: Claim) -> None:
        """Take a claimed chunk into work."""
        held = Held(claim, deque(), deque(), unanswered=len(claim.rows))
        here = {h.claim.work.team for h in self._held.values()}
        if claim.work.team not in here:
            self._shares.join(claim.work.team, here)
        self._held[claim.lease.chunk] = held
        for row in claim.rows:
            apart = row.suspect_group and not row.is_poison
            (held.suspects if apart else held.queue).append(row)
        self._count_queued()
        self.fill()

    def drop(self, batches: set[int] | None = None) -> None:
        """Submit nothing more of these batches (None: of any) and give their chunks back.

        Requests in flight finish and are stored.
        """
        for held in list(self._held.values()):
            if batches is None or held.claim.work.batch in batches:
                held.dropped = True
                held.queue.clear()
                held.suspects.clear()
                held.refuse_due()
                self._settle(held)
        self._count_queued()
        self._wake()

    def abort(self, lease: ChunkLease | None = None) -> None:
        """Cut off the requests of a lost chunk (None: of all); the engine stops them."""
        for task, of in list(self._tasks.items()):
            if lease is None or of == lease:
                task.cancel()
        if lease is not None and self._leases(lease):
            del self._held[lease.chunk]

    def _leases(self, lease: ChunkLease) -> bool:
        """Whether this very claim is in work; the chunk may have been claimed anew."""
        held = self._held.get(lease.chunk)
        return held is not None and held.claim.lease == lease

    def stored(self, count: int, size: int) -> None:
        """The writer stored so many results of so many characters; there is room again."""
        self.unwritten -= count
        self._unwritten_size -= size
        self.fill()

    def snapshot(self) -> Snapshot:
        """The state at this moment."""
        works = {h.claim.work.batch: h.claim.work for h in self._held.values()}
        queues = [q for h in self._held.values() for q in (h.queue, h.suspects)]
        queued: Counter[Work] = Counter()
        for h in self._held.values():
            queued[h.claim.work] += len(h.queue) + len(h.suspects)
        return Snapshot(
            leases=[h.claim.lease for h in self._held.values()],
            works=list(works.values()),
            queued={work: n for work, n in queued.items() if n},
            queued_bytes=sum(len(row.body) for q in queues for row in q),
            in_flight=self.in_flight,
            window=self._target.window if self._target else 0,
            load={team: float(n) for team, n in self._shares.load.items()},
            spent=dict(self._shares.spent),
            halt=self._halt if not self._tasks else None,
            successes=self.successes,
            refused=dict(self._refused),
        )

    @property
    def hungry(self) -> bool:
        """Whether fewer rows than a window wait here. Safe to ask from any thread."""
        return self._queued < (self._target.window if self._target else 0)

    @property
    def full(self) -> bool:
        """Whether no place in the window is free. Safe to ask from any thread."""
        return self.in_flight >= self._window.places

    @property
    def busy(self) -> bool:
        """Whether any request is under way."""
        return bool(self._tasks)

    # --- the window

    def fill(self) -> None:
        """Start requests while there is a free place."""
        while (
            self._target is not None
            and self._halt is None
            and self.in_flight < self._window.places
            and self.unwritten < BACKLOG
            and (self._unwritten_size < MOST_CHARACTERS or not self.unwritten)
            and (chosen := self._next())
        ):
            held, row = chosen
            if row is not None:
                self._launch(held, row)
            elif held.due.popleft().answer(granted=True):
                self._occupy(held)

    def _next(self) -> tuple[Held, Row | None] | None:
        """The best-ranked row, None for one that is due to be tried again.

        Suspects only when nothing else runs or waits.
        """
        fresh = self._takes_fresh_rows()
        waiting = [h for h in self._held.values() if h.due or (fresh and h.queue)]
        if waiting and not self._suspects.are_due(self._held.values()):
            if self._suspects.flying:
                return None
            works = {h.claim.work for h in waiting}
            best = waiting[0].claim.work
            if len(works) > 1:
                best = rank(
                    works,
                    load=self._shares.load,
                    now=time.time(),
                    spent=self._shares.spent,
                )[0]
            of_best = [h for h in waiting if h.claim.work == best]
            held = next((h for h in of_best if h.due), of_best[0])
            return held, None if held.due else held.queue.popleft()
        if not fresh:
            return None
        return self._suspects.next(self._held.values(), in_flight=self.in_flight)

    def _takes_fresh_rows(self) -> bool:
        """Whether rows that were not tried yet may be sent: bodies and tries are bounded.

        One request may always fly, however long it is.
        """
        return not self._tasks or (
            self._flying_size < MOST_CHARACTERS
            and self._retrying < MOST_RETRYING * self._window.target
        )

    def _launch(self, held: Held, row: Row) -> None:
        held.flying += 1
        self._flying_size += len(row.body)
        self._count_queued()
        self._occupy(held)
        task = asyncio.get_running_loop().create_task(self._answer(held, row))
        self._tasks[task] = held.claim.lease
        task.add_done_callback(lambda done: self._ended(done, held, len(row.body)))

    def _count_queued(self) -> None:
        self._queued = sum(len(h.queue) for h in self._held.values())

    def _occupy(self, held: Held) -> None:
        """Take a place in the window."""
        self.in_flight += 1
        work = held.claim.work
        self._shares.give(work)
        self.occupancy.change((work.batch, work.model), 1)

    def _vacate(self, held: Held) -> None:
        """Free a place in the window."""
        self.in_flight -= 1
        work = held.claim.work
        self._shares.take_back(work)
        self.occupancy.change((work.batch, work.model), -1)

    def _ended(self, task: asyncio.Task[None], held: Held, size: int) -> None:
        self._tasks.pop(task, None)
        held.flying -= 1
        self._flying_size -= size
        self._vacate(held)
        if self.in_flight == 0:
            self._suspects.have_landed()
        self._settle(held)
        if self._halt is not None and not self._tasks:
            self._halt = Halt(self._halt.reason, self._halt.died, tuple(self._lost))
            self.drop()
        self.fill()
        if self.hungry or not self._tasks:
            self.stirred.set()

    def _settle(self, held: Held) -> None:
        """Let go of a chunk with nothing left to do here."""
        lease = held.claim.lease
        if held.flying or held.queue or held.suspects or not self._leases(lease):
            return
        del self._held[lease.chunk]
        if held.unanswered:
            self._put(GivenBack(lease, held.count_attempt))

    # --- one request

    async def _answer(self, held: Held, row: Row) -> None:
        """One row's task; our own mistakes become the row's error, not a crash loop."""
        started = time.monotonic()
        if row.is_poison:
            self._finish(held, row, poisonous(), 0, started)
            return
        try:
            await self._run(held, row, started)
        except Exception as error:
            logger.exception("request %d could not be handled", row.pk)
            message = (
                f"Batchsite could not handle this request: {type(error).__name__}."
            )
            self._finish(held, row, error_result("internal_error", message), 1, started)

    async def _run(self, held: Held, row: Row, started: float) -> None:
        """Bring one row to its result, or leave it to the chunk's next holder."""
        seen = self.successes
        assert self._target is not None
        body = self._target.body_of(held.claim.work.model, row.body)
        for attempt in itertools.count(1):
            answer: Answer | None = None
            try:
                answer = await self._post(held, row, body)
            except AnswerTooLarge:
                self._finish(held, row, too_large(), attempt, started)
                return
            except EngineTimeout as error:
                reason = str(error)
            except EngineRefused as error:
                self._stop(str(error), died=True)
                return
            except EngineUnreachable as error:
                self._lost.append(row.pk)
                self._stop(str(error), died=True)
                return
            if answer is not None:
                judged = judge(answer)
                reason = judged.reason
                if judged.verdict is Verdict.RESULT:
                    result = result_of(answer, judged.body)
                    self._succeeded()
                    self._finish(held, row, result, attempt, started)
                    return
                if judged.verdict is Verdict.FAULT:
                    await self._fault(held, judged)
                    return
            self._note_trouble(answer)
            if self._is_enough(attempt, answer, seen):
                break
            if not await self._wait(held, row, attempt, answer):
                return
        if self.successes == seen and not await self._has_had_its_chance(held, answer):
            # Nothing else succeeds either: it is the engine, not the row.
            held.count_attempt = True
            self._stop(reason, died=False)
            return
        self._finish(held, row, last_word(answer, reason, attempt), attempt, started)

    def _is_enough(self, attempt: int, answer: Answer | None, seen: int) -> bool:
        """Whether a row is not tried again; sooner when nothing else succeeds either."""
        if self.successes == seen:
            return attempt >= TRIES
        return attempt >= most_tries(answer.status if answer else None)

    def _note_trouble(self, answer: Answer | None) -> None:
        """Make the window smaller after an answer that was none."""
        now = time.monotonic()
        if answer is not None and answer.status in BUSY_STATUSES:
            self._window.refused(now, beside=self.in_flight - 1)
        else:
            self._window.trouble(now)

    async def _fault(self, held: Held, judged: Judged) -> None:
        """Halt; but only this batch when the engine is well and lacks what it asks for.

        vLLM serves embeddings or chat, not both: a batch for the other endpoint must
        not stand in the way of all others.
        """
        work = held.claim.work
        if judged.no_such_place and await self._serves(work.model):
            self._refused[work.batch, work.model] = judged.reason
            self.drop({work.batch})
        else:
            self._stop(judged.reason, died=False)

    async def _has_had_its_chance(self, held: Held, answer: Answer | None) -> bool:
        """Whether a chunk that only fails was tried often enough on a healthy engine.

        One that only ever says "too many requests" is short of something: its rows wait.
        """
        if answer is not None and answer.status == TOO_MANY_REQUESTS:
            return False
        work = held.claim.work
        return held.claim.attempts >= ROUNDS and await self._serves(work.model)

    async def _serves(self, model: str) -> bool:
        """Whether the engine answers, and lists the model."""
        if self._client is None or self._target is None:
            return False
        return self._target.names.get(model, model) in await models_of(self._client)

    async def _post(self, held: Held, row: Row, body: bytes) -> Answer:
        if self._client is None or self._target is None:
            raise EngineUnreachable("the engine is gone")
        timeout = self._target.timeouts.get(held.claim.work.model, self._timeout)
        return await self._client.post(row.url, body, timeout=timeout)

    async def _wait(
        self, held: Held, row: Row, attempt: int, answer: Answer | None
    ) -> bool:
        """Leave the window until the next try; False when there is none.

        The pause once over, the row waits for a free place like all others.
        """
        pause = pause_before_next(
            attempt,
            jitter=random.random(),  # noqa: S311 - spreads tries, no secret
            retry_after=(answer.headers if answer else {}).get("retry-after", ""),
            now=time.time(),
            longest=LONGEST_WAIT,
        )
        place: Place | None = None
        self._vacate(held)
        self._retrying += 1
        try:
            self.fill()
            if not await self._sleep(held, pause):
                return False
            if row.suspect_group:
                # It runs apart from the others, who wait for it.
                return True
            place = Place()
            held.due.append(place)
            self.fill()
            return await place.wait()
        finally:
            self._retrying -= 1
            if place is None or not place.granted:
                self._occupy(held)
            if place is not None and place in held.due:
                held.due.remove(place)

    async def _sleep(self, held: Held, seconds: float) -> bool:
        """Wait before a try; False, at once, when the chunk is dropped or all halts."""
        deadline = time.monotonic() + seconds
        while self._halt is None and not held.dropped:
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), left)
        return False

    def _succeeded(self) -> None:
        self.successes += 1
        self._window.answered()

    def _stop(self, reason: str, *, died: bool) -> None:
        """Submit nothing more until the keeper has looked at the engine."""
        if self._halt is None or (died and not self._halt.died):
            self._halt = Halt(reason, died, ())
            for held in self._held.values():
                held.refuse_due()
            self._wake()

    def _wake(self) -> None:
        """Let requests that wait for their next try look at what has changed."""
        self._woken.set()
        self._woken = asyncio.Event()

    def _finish(
        self, held: Held, row: Row, result: Result, attempts: int, started: float
    ) -> None:
        assert self._target is not None
        result.request_id = row.pk
        result.index = row.index
        result.attempts = attempts
        result.latency_ms = int((time.monotonic() - started) * 1000)
        result.engine_id = self._target.engine
        model = held.claim.work.model
        result.provenance = self._target.provenance_of(model)
        held.unanswered -= 1
        self.unwritten += 1
        self._unwritten_size += len(result.body)
        last = held.unanswered == 0
        self._put(Written(held.claim.lease, result, row.has_copies, last, model))
