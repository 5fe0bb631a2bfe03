# SPDX-License-Identifier: Apache-2.0
"""The feeder's event loop: a sliding window of requests over one engine.

Everything here runs in the loop's thread. There is no barrier between chunks, so that
the engine never waits for the slowest request of a chunk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable

from .answers import Judged, Verdict, error_result, judge, parse, result_of
from .claims import Claim, Row
from .engines.client import (
    Answer,
    AnswerTooLarge,
    EngineClient,
    EngineRefused,
    EngineTimeout,
    EngineUnreachable,
)
from .flight import Halt, Held, Snapshot, Target
from .models import Result
from .recording import ChunkLease
from .rewriting import Rewrite
from .scheduling import Work, rank
from .suspects import next_suspect
from .writer import GivenBack, Item, Written

logger = logging.getLogger(__name__)
TRIES = 5
BACKLOG = 1000
# Of the bodies in flight, and of the answers that are not stored yet.
MOST_CHARACTERS = 32_000_000
# Suspects run last; after so many seconds they run before everything else.
SUSPECTS_WAIT = 60.0
# After so many claims of a chunk a row that only ever fails gets its last answer.
ROUNDS = 3
LONGEST_WAIT = 30.0


class Submitter:
    """Feeds one engine from claimed chunks; results go to `put` in the order they finish."""

    def __init__(self, *, put: Callable[[Item], None], timeout: float) -> None:
        self._put = put
        self._timeout = timeout
        self._client: EngineClient | None = None
        self._target: Target | None = None
        self._held: dict[int, Held] = {}
        self._tasks: dict[asyncio.Task[None], ChunkLease] = {}
        self._load: Counter[int] = Counter()
        # Suspects in flight, and the group that they come from.
        self._alone = self._part = 0
        self._lost: list[int] = []
        self._halt: Halt | None = None
        self._limit = 1.0
        self._shrunk_at = 0.0
        self._refused: dict[tuple[int, str], str] = {}
        self._suspects_since: float | None = None
        self._flying_size = 0
        self._unwritten_size = 0
        self._woken = asyncio.Event()
        self.in_flight = 0
        self.unwritten = 0
        self.successes = 0
        self._queued = 0

    # --- called by the keeper, through the loop

    def aim(self, client: EngineClient, target: Target) -> None:
        """Submit to this engine from now on."""
        self._client, self._target = client, target
        self._limit = float(target.window)
        self._halt = None
        self._lost = []
        self.fill()

    def adjust(self, target: Target) -> None:
        """The same server with another window, other names or another revision."""
        was_full = self._target is not None and self._limit >= self._target.window
        self._target = target
        self._limit = (
            float(target.window) if was_full else min(self._limit, target.window)
        )
        self.fill()

    def forget_refused(self) -> None:
        """The keeper has taken note of the refused batches."""
        self._refused = {}

    def add(self, claim: Claim) -> None:
        """Take a claimed chunk into work."""
        held = Held(claim, deque(), deque(), unanswered=len(claim.rows))
        self._held[claim.lease.chunk] = held
        for row in claim.rows:
            apart = row.suspect_group and not row.is_poison
            (held.suspects if apart else held.queue).append(row)
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
                self._settle(held)
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
            load={team: float(n) for team, n in self._load.items()},
            halt=self._halt if not self._tasks else None,
            successes=self.successes,
            refused=dict(self._refused),
        )

    @property
    def hungry(self) -> bool:
        """Whether fewer rows than a window wait here. Safe to ask from any thread."""
        return self._queued < (self._target.window if self._target else 0)

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
            and self.in_flight < self._limit
            and self.unwritten < BACKLOG
            # One request may always fly, however long it is.
            and (self._flying_size < MOST_CHARACTERS or not self._tasks)
            and (self._unwritten_size < MOST_CHARACTERS or not self.unwritten)
            and (chosen := self._next())
        ):
            self._launch(*chosen)

    def _next(self) -> tuple[Held, Row] | None:
        """The best-ranked row; suspects only when nothing else runs or waits."""
        waiting = [h for h in self._held.values() if h.queue]
        if waiting and not self._suspects_are_due():
            if self._alone:
                return None
            works = {h.claim.work for h in waiting}
            best = waiting[0].claim.work
            if len(works) > 1:
                best = rank(works, load=self._load, now=time.time())[0]
            held = next(h for h in waiting if h.claim.work == best)
            return held, held.queue.popleft()
        return self._next_suspect()

    def _suspects_are_due(self) -> bool:
        """Whether suspects wait for too long; a steady queue must not starve them."""
        if not any(h.suspects for h in self._held.values()):
            self._suspects_since = None
            return False
        if self._suspects_since is None:
            self._suspects_since = time.monotonic()
        return time.monotonic() - self._suspects_since > SUSPECTS_WAIT

    def _next_suspect(self) -> tuple[Held, Row] | None:
        """Suspects run apart, in parts; see suspects.py."""
        if self.in_flight > self._alone:
            return None
        waiting = [(h, row) for h in self._held.values() for row in h.suspects]
        place = next_suspect(
            [row for _, row in waiting], part=self._part, flying=self._alone
        )
        if place is None:
            return None
        held, row = waiting[place]
        held.suspects.remove(row)
        self._alone += 1
        self._part = row.suspect_group
        return held, row

    def _launch(self, held: Held, row: Row) -> None:
        held.flying += 1
        self._flying_size += len(row.body)
        self._queued = sum(len(h.queue) for h in self._held.values())
        self._occupy(held, 1)
        task = asyncio.get_running_loop().create_task(self._answer(held, row))
        self._tasks[task] = held.claim.lease
        task.add_done_callback(lambda done: self._ended(done, held, len(row.body)))

    def _occupy(self, held: Held, places: int) -> None:
        """Take (1) or free (-1) a place in the window."""
        self.in_flight += places
        self._load[held.claim.work.team] += places

    def _ended(self, task: asyncio.Task[None], held: Held, size: int) -> None:
        self._tasks.pop(task, None)
        held.flying -= 1
        self._flying_size -= size
        self._occupy(held, -1)
        if self.in_flight == 0:
            self._alone = self._part = 0
        self._settle(held)
        if self._halt is not None and not self._tasks:
            self._halt = Halt(self._halt.reason, self._halt.died, tuple(self._lost))
            self.drop()
        self.fill()

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
            self._finish(held, row, _poisonous(), 0, started)
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
        body = self._body(held, row)
        answer: Answer | None = None
        for attempt in range(1, TRIES + 1):
            reason = ""
            try:
                answer = await self._post(row, body)
            except AnswerTooLarge:
                self._finish(held, row, _too_large(), attempt, started)
                return
            except EngineTimeout as error:
                answer, reason = None, str(error)
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
                    self._grow()
                    self._finish(held, row, result, attempt, started)
                    return
                if judged.verdict is Verdict.FAULT:
                    await self._fault(held, judged)
                    return
            self._shrink()
            if attempt < TRIES and not await self._wait(held, attempt, answer):
                return
        if self.successes == seen and not await self._has_had_its_chance(held):
            # Nothing else succeeds either: it is the engine, not the row.
            held.count_attempt = True
            self._stop(reason, died=False)
            return
        self._finish(held, row, _last_word(answer, reason), TRIES, started)

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

    async def _has_had_its_chance(self, held: Held) -> bool:
        """Whether a chunk that only fails was tried often enough on a healthy engine."""
        work = held.claim.work
        return held.claim.attempts >= ROUNDS and await self._serves(work.model)

    async def _serves(self, model: str) -> bool:
        """Whether the engine answers, and lists the model."""
        if self._client is None or self._target is None:
            return False
        try:
            answer = await self._client.get("/v1/models")
            listed = {entry.get("id") for entry in parse(answer.body)["data"]}
        except (
            EngineUnreachable,
            AnswerTooLarge,
            ValueError,
            LookupError,
            AttributeError,
            TypeError,
        ):
            return False
        return answer.status == 200 and self._target.names.get(model, model) in listed

    async def _post(self, row: Row, body: bytes) -> Answer:
        if self._client is None:
            raise EngineUnreachable("the engine is gone")
        return await self._client.post(row.url, body, timeout=self._timeout)

    async def _wait(self, held: Held, attempt: int, answer: Answer | None) -> bool:
        """Sleep before the next try, outside the window; False when not to go on."""
        pause = min(LONGEST_WAIT, 0.5 * 2**attempt) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        after = (answer.headers if answer else {}).get("retry-after", "")
        if after.isdigit():
            pause = max(pause, min(float(after), 2 * LONGEST_WAIT))
        deadline = time.monotonic() + pause
        self._occupy(held, -1)
        self.fill()
        try:
            while self._halt is None and not held.dropped:
                left = deadline - time.monotonic()
                if left <= 0:
                    return True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), left)
        finally:
            self._occupy(held, 1)
        return False

    def _body(self, held: Held, row: Row) -> bytes:
        """The stored bytes; rewritten only when the engine calls the model otherwise."""
        assert self._target is not None
        name = self._target.names.get(held.claim.work.model)
        if name is None or name == held.claim.work.model:
            return row.body.encode()
        return Rewrite({"model": name}).apply(row.body).encode()

    def _shrink(self) -> None:
        """Halve the window, at most once a second: one hiccup fails many rows at once."""
        now = time.monotonic()
        if now - self._shrunk_at > 1:
            self._shrunk_at = now
            self._limit = max(1.0, self._limit / 2)

    def _grow(self) -> None:
        self.successes += 1
        if self._target is not None and self._limit < self._target.window:
            self._limit = min(float(self._target.window), self._limit + 0.2)

    def _stop(self, reason: str, *, died: bool) -> None:
        """Submit nothing more until the keeper has looked at the engine."""
        if self._halt is None or (died and not self._halt.died):
            self._halt = Halt(reason, died, ())
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
        result.provenance = dict(self._target.provenance)
        model = held.claim.work.model
        if model in self._target.adapters:
            result.provenance["adapter_source"] = self._target.adapters[model]
        if self._target.names.get(model, model) != model:
            result.provenance["rewritten"] = ["model"]
        held.unanswered -= 1
        self.unwritten += 1
        self._unwritten_size += len(result.body)
        last = held.unanswered == 0
        self._put(Written(held.claim.lease, result, row.has_copies, last))


def _too_large() -> Result:
    return error_result("answer_too_large", "The answer is longer than 16 MB.")


def _poisonous() -> Result:
    return error_result(
        "engine_crashed",
        "The engine died twice while this request was the only one it worked on.",
    )


def _last_word(answer: Answer | None, reason: str) -> Result:
    """The result of a row that failed five times while others succeeded."""
    if answer is None:
        return error_result("request_timeout", f"Tried {TRIES} times: {reason}.")
    try:
        body = parse(answer.body)
    except ValueError:
        body = None
    return result_of(answer, body)
