# SPDX-License-Identifier: Apache-2.0
"""The feeder: keeps one engine busy with claimed chunks, in three threads.

loop    asyncio and aiohttp: the window of requests (submitter.py)
writer  results into rows (writer.py)
keeper  claims, leases and the engine's row (here)

Each has its own database connection. attending.py keeps the feeder alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from . import claims, engine_side
from .engines.client import AnswerTooLarge, EngineClient, EngineUnreachable
from .flight import Snapshot, Target
from .gatekeeping import GateKeeper
from .models import Engine, ServedModel
from .models.engines import HEARTBEAT_SECONDS, STALE_SECONDS
from .recording import LeaseLost, record, record_copies
from .sampling import Sampler
from .submitter import Submitter
from .swaps import Swaps
from .writer import Writer

logger = logging.getLogger(__name__)
T = TypeVar("T")
TICK = 0.5
# While the engine has all that it can take, and more of it is here.
FULL_TICK = 1.0
HURRY = 0.05
# A look at the queue serves so many seconds, while enough rows are here.
LOOK_SECONDS = 2.0
# How long to wait for the host's word after a connection broke, when the engine does not
# say that it is well: a large one takes its time to end, a busy host to see it.
BLAME_SECONDS = 30
PROBE_SECONDS = 2
STUCK_SECONDS = 30


class Feeder:
    """One engine's feeder. `start()`, then `drain()`; `failed` says that it must die."""

    def __init__(self, *, engine_name: str, worker: str) -> None:
        self.engine_name = engine_name
        self.worker = worker
        self.idle_since: float | None = None
        self.failed = ""
        self.progress = time.monotonic()
        self._stop = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._writer = Writer(
            on_lost=lambda lease: self._soon(lambda: self.submitter.abort(lease)),
            on_stored=lambda count, size: self._soon(
                lambda: self.submitter.stored(count, size)
            ),
        )
        self.submitter = Submitter(
            put=self._writer.put, timeout=settings.BATCHSITE_REQUEST_TIMEOUT
        )
        self._sampler = Sampler(
            self._writer.take_tally,
            lambda: self._call(self.submitter.occupancy.take),
        )
        self._gatekeeper = GateKeeper(worker)
        self._closed: frozenset[str] = frozenset()
        self._client: EngineClient | None = None
        self._target: Target | None = None
        self._after: int | None = None
        self._beat_at = 0.0
        self._claim_at = 0.0
        self._seen: engine_side.Survey | None = None
        self._seen_at = 0.0
        self._backoff = 1.0
        self._successes = 0
        self._claimed = 0
        self._busy = False
        # What the engine's row says while this feeder waits for another model.
        self._awaits: tuple[str, int] | None = None
        self._halted_at: float | None = None
        self._swaps = Swaps(self.submitter, self._call)
        self._models: dict[int | None, ServedModel] = {}
        self._models_at = 0.0
        self._refused: dict[tuple[int, str], tuple[float, float]] = {}
        self._threads = [
            threading.Thread(target=self._run_loop, name="feeder-loop", daemon=True),
            threading.Thread(target=self._keep, name="feeder-keeper", daemon=True),
        ]

    # --- life

    def start(self) -> None:
        """Start the threads."""
        self._writer.start()
        self._gatekeeper.start()
        for thread in self._threads:
            thread.start()

    def drain(self, seconds: float) -> None:
        """Stop claiming and submitting, let requests finish, store, give chunks back.

        What is still in flight after `seconds` is cut off and will run again.
        """
        self._stop.set()
        self.submitter.stirred.set()
        self._threads[1].join(STUCK_SECONDS)
        self._gatekeeper.end()
        self._call(self.submitter.drop)
        deadline = time.monotonic() + seconds
        while self._call(lambda: self.submitter.busy) and time.monotonic() < deadline:
            self._stay_alive()
            time.sleep(0.05)
        self._call(self.submitter.abort)
        while self._call(lambda: self.submitter.busy):
            time.sleep(0.02)
        while self._writer.leases() and self._writer.is_alive():
            self._stay_alive()
            time.sleep(0.02)
        self._writer.stop(STALE_SECONDS)
        self._sample_last()
        Engine.objects.filter(name=self.engine_name, worker_token=self.worker).update(
            in_flight=0
        )
        if self._client is not None:
            asyncio.run_coroutine_threadsafe(
                self._client.__aexit__(None, None, None), self._loop
            ).result(STUCK_SECONDS)
        self._soon(self._loop.stop)
        self._threads[0].join(STUCK_SECONDS)

    def _stay_alive(self) -> None:
        """While draining: the keeper is gone, its heartbeat must go on."""
        try:
            engine = Engine.objects.get(name=self.engine_name)
            self._heartbeat(engine, self._call(self.submitter.snapshot))
        except (DatabaseError, InterfaceError):
            logger.exception("the draining feeder cannot reach the database")
            connection.close()

    def _sample_last(self) -> None:
        """What the end has stored since the last sample."""
        try:
            engine = Engine.objects.get(name=self.engine_name)
            self._sample(engine, self._call(self.submitter.snapshot))
        except (DatabaseError, InterfaceError):
            logger.exception("the last sample of the feeder is lost")
            connection.close()

    def figures(self) -> dict[str, Any]:
        """What was done so far, for the admin's list of tasks."""
        return {
            "engine": self.engine_name,
            "results": self._writer.stored,
            "output_tokens": self._writer.output_tokens,
            "in_flight": self.submitter.in_flight,
        }

    # --- the loop's thread

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _soon(self, call: Callable[[], object]) -> None:
        # The loop may be closed already when the last results are reported.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)

    def _call(self, call: Callable[[], T]) -> T:
        """Run `call` in the loop's thread; TimeoutError when the loop does not move."""

        async def run() -> T:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(STUCK_SECONDS)

    # --- the keeper's thread

    def _keep(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self._tick()
                except (DatabaseError, InterfaceError) as error:
                    logger.exception("the keeper cannot reach the database")
                    self._gatekeeper.database_fails(error)
                    connection.close()
                self.progress = time.monotonic()
                self._pause()
        except BaseException as error:
            logger.exception("the feeder of %s fails", self.engine_name)
            self.failed = f"{type(error).__name__}: {error}"
        finally:
            connection.close()

    def _pause(self) -> None:
        """Wait for the next tick: less when chunks fly by, work ends or a swap gets on."""
        full = self.submitter.full and not self.submitter.hungry
        deadline = time.monotonic() + (FULL_TICK if full else TICK)
        # A load takes long, the other steps of a swap do not.
        loads = self._awaits is not None and self._awaits[0] == Engine.State.LOADING
        step = 4 * HURRY if loads else HURRY
        while not self._stop.wait(step) and (left := deadline - time.monotonic()) > 0:
            if self._claimed and self.submitter.hungry:
                return
            if self._busy and not self.submitter.busy:
                return
            if self._awaits is None:
                # Each wake-up takes processor time from an engine that may need it.
                self.submitter.stirred.wait(left)
                self.submitter.stirred.clear()
            elif self._has_moved(self._awaits):
                return

    def _has_moved(self, last: tuple[str, int]) -> bool:
        """Whether the engine's state is another one: a cheap look between ticks."""
        try:
            row = Engine.objects.filter(name=self.engine_name)
            return row.values_list("state", "generation").first() != last
        except (DatabaseError, InterfaceError):
            # The next tick says so.
            connection.close()
            return False

    def _tick(self) -> None:
        """Look at everything once; once or twice a second, more often while chunks fly by."""
        snapshot = self._call(self.submitter.snapshot)
        engine = self._read()
        if engine.worker_token != self.worker:
            raise engine_side.TokenLost(engine.worker_token)
        if self._writer.failed:
            raise RuntimeError(f"the writer failed: {self._writer.failed}")
        self._heartbeat(engine, snapshot)
        settled = self._follow_up(engine, snapshot)
        self._drop_stopped(snapshot)
        self._note_refused(snapshot)
        seen = self._look(engine)
        self._claimed = 0
        self._closed = self._gatekeeper.look(engine, trouble=self._writer.trouble)
        self._awaits = None
        if settled and self._aim(engine, seen, snapshot):
            self._claim(engine, seen)
        waiting = bool(seen.waiting) and not engine.paused
        self._note_idle(snapshot, waiting=waiting or bool(self._closed))
        self._busy = self.submitter.busy

    def _read(self) -> Engine:
        """The engine's row now, with its models as they were up to 2 s ago."""
        engine = Engine.objects.read(self.engine_name)
        named = {engine.loaded_model_id, engine.wanted_model_id} - {None}
        now = time.monotonic()
        if not named <= self._models.keys() or now - self._models_at > LOOK_SECONDS:
            self._models = ServedModel.objects.in_bulk(named)
            self._models_at = now
        engine.loaded_model = self._models.get(engine.loaded_model_id)
        engine.wanted_model = self._models.get(engine.wanted_model_id)
        return engine

    def _heartbeat(self, engine: Engine, snapshot: Snapshot) -> None:
        """Every 4 s: put the leases' ends ahead and write in_flight.

        At each tick while the host waits for in_flight to become 0.
        """
        draining = engine.state == Engine.State.DRAINING
        if time.monotonic() < self._beat_at and not draining:
            return
        self._beat_at = time.monotonic() + HEARTBEAT_SECONDS
        engine_side.report(engine, worker=self.worker, in_flight=snapshot.in_flight)
        leases = {*snapshot.leases, *self._writer.leases()}
        for lease in claims.extend(self.worker, leases):
            if lease in self._call(self.submitter.snapshot).leases:
                logger.warning("lost the lease of chunk %d", lease.chunk)
                self._call(lambda lost=lease: self.submitter.abort(lost))  # type: ignore[misc]  # mypy does not see the default
        self._sample(engine, snapshot)

    def _sample(self, engine: Engine, snapshot: Snapshot) -> None:
        busy = snapshot.in_flight or snapshot.leases or self._writer.leases()
        self._sampler.sample(engine, window=snapshot.window, idle=not busy)

    def _follow_up(self, engine: Engine, snapshot: Snapshot) -> bool:
        """After a halt: blame and wait; False while it is not clear who is to blame."""
        if snapshot.successes > self._successes:
            self._successes = snapshot.successes
            self._backoff = 1.0
            if engine.fault:
                engine_side.clear_fault(engine)
        halt, target = snapshot.halt, self._target
        if halt is None or target is None:
            self._halted_at = None
            return True
        self._halted_at = self._halted_at or time.monotonic()
        waited = time.monotonic() - self._halted_at
        if (
            engine_side.may_be_alive(engine, target, halt)
            and waited < BLAME_SECONDS
            and not self._is_well()
        ):
            return False
        logger.warning("engine %s: %s", engine.name, halt.reason)
        self._target, self._halted_at = None, None
        self._claim_at = time.monotonic() + self._backoff
        self._backoff = min(60.0, self._backoff * 2)
        asked = self._swaps.asked(target.generation)
        engine_side.blame(engine, target, halt, asked=asked)
        return True

    def _is_well(self) -> bool:
        """Whether the engine says so: then only a connection broke."""
        client = self._client
        if client is None:
            return False

        async def ask() -> bool:
            try:
                answer = await client.get("/health", timeout=PROBE_SECONDS)
            except (EngineUnreachable, AnswerTooLarge):
                return False
            return answer.status == 200

        asked = asyncio.run_coroutine_threadsafe(ask(), self._loop)
        return asked.result(STUCK_SECONDS)

    def _note_refused(self, snapshot: Snapshot) -> None:
        """Leave batches alone for which the engine has no endpoint, longer each time."""
        for refused, reason in snapshot.refused.items():
            pause = min(3600.0, 2 * self._refused.get(refused, (0.0, 30.0))[1])
            if refused not in self._refused:
                engine_side.note_refusal(self.engine_name, refused[0], reason)
            self._refused[refused] = (time.monotonic() + pause, pause)
        if snapshot.refused:
            self._seen = None
            self._call(self.submitter.forget_refused)

    def _look(self, engine: Engine) -> engine_side.Survey:
        """What waits for the engine; of up to 2 s ago while enough rows are here.

        A hundred feeders that look twice a second would keep the database busy.
        """
        age = time.monotonic() - self._seen_at
        if self._seen is None or age > LOOK_SECONDS:
            return self._survey(engine)
        if not self.submitter.hungry:
            return self._seen
        if claims.anything_claimable():
            return self._survey(engine)
        return replace(self._seen, waiting=[])

    def _survey(self, engine: Engine) -> engine_side.Survey:
        """What waits for the engine now, without what it refused lately."""
        now = time.monotonic()
        skipped = {pair for pair, (until, _) in self._refused.items() if until > now}
        self._seen = engine_side.survey(engine, skipped=skipped)
        self._seen_at = now
        return self._seen

    def _drop_stopped(self, snapshot: Snapshot) -> None:
        """Let go of batches that were cancelled, paused or ran out of time."""
        held = {work.batch for work in snapshot.works}
        gone = held - claims.still_running(held) if held else set()
        if gone:
            self._call(lambda: self.submitter.drop(gone))

    def _aim(
        self, engine: Engine, seen: engine_side.Survey, snapshot: Snapshot
    ) -> bool:
        """Point the submitter at the engine as it is now; False: nothing may be claimed."""
        if engine.paused or self._closed - {"database"}:
            self._call(self.submitter.drop)
            return False
        if self._closed or time.monotonic() < self._claim_at:
            return False
        target = engine_side.target_of(engine)
        if self._target is not None and (
            target is None or not target.is_same_server(self._target)
        ):
            # Another generation is another process: nothing of the old one counts.
            self._call(self.submitter.drop)
            if not self._call(lambda: self.submitter.busy):
                self._target = None
        managed = engine.kind == Engine.Kind.MANAGED
        if managed and self._swaps.is_on_the_way(engine, seen, snapshot):
            self._awaits = (engine.state, engine.generation)
            return False
        if target is None:
            return False
        if self._target is None:
            self._connect(engine, target)
        elif self._target != target and target.is_same_server(self._target):
            self._call(lambda: self.submitter.adjust(target))
            self._target = target
        return self._target == target

    def _connect(self, engine: Engine, target: Target) -> None:
        """A fresh connection pool for this generation, in the loop's thread."""

        async def swap() -> None:
            client = EngineClient.of(engine)
            await client.__aenter__()
            old, self._client = self._client, client
            self.submitter.aim(client, target)
            if old is not None:
                await old.__aexit__(None, None, None)

        asyncio.run_coroutine_threadsafe(swap(), self._loop).result(STUCK_SECONDS)
        self._target = target

    def _claim(self, engine: Engine, seen: engine_side.Survey) -> None:
        """Take chunks as long as few enough rows are ready that go before them."""
        began = time.monotonic()
        while not self._stop.is_set():
            snapshot = self._call(self.submitter.snapshot)
            wanted = engine_side.next_claim(seen, snapshot)
            if wanted is None:
                return
            if self._seen_at < began - TICK:
                # What was seen a while ago may be gone, or come second by now.
                seen = self._survey(engine)
                continue
            claim = claims.claim(
                wanted,
                engine=engine,
                worker=self.worker,
                after=self._after,
                held={*snapshot.leases, *self._writer.leases()},
            )
            seen = self._survey(engine)
            if claim is None:
                return
            self._claimed += 1
            self._after = claim.end
            self._take(claim)

    def _take(self, claim: claims.Claim) -> None:
        """Hand a claimed chunk to the loop, copies of earlier answers first."""
        try:
            if claim.lease.epoch > 1:
                record_copies(claim.lease)
            if not claim.rows:
                # Its last holder stored everything and died before saying so.
                record(claim.lease, [], with_copies=False, finished=True)
                return
        except LeaseLost:
            logger.warning("chunk %d was lost at once", claim.lease.chunk)
            return
        self._call(lambda: self.submitter.add(claim))

    def _note_idle(self, snapshot: Snapshot, *, waiting: bool) -> None:
        if snapshot.leases or snapshot.in_flight or waiting:
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = time.monotonic()
