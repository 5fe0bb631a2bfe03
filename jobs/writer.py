# SPDX-License-Identifier: Apache-2.0
"""The feeder's writer thread: results become rows about once a second."""

from __future__ import annotations

import functools
import logging
import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    close_old_connections,
    connection,
)

from .claims import give_back
from .models import Result
from .occupancy import Work
from .recording import ChunkLease, LeaseLost, record

logger = logging.getLogger(__name__)
COMMIT_SECONDS = 1.0
COMMIT_ROWS = 200
COMMIT_CHARACTERS = 8_000_000


@dataclass(slots=True)
class Written:
    """A result on its way; `last`: the chunk is done with it."""

    lease: ChunkLease
    result: Result
    has_copies: bool
    last: bool
    model: str = ""


@dataclass(slots=True)
class GivenBack:
    """A chunk to make claimable again, after all its results before were stored."""

    lease: ChunkLease
    count_attempt: bool = False


@dataclass(slots=True)
class Flush:
    """Store everything before this now, then set the event."""

    done: threading.Event = field(default_factory=threading.Event)


Item = Written | GivenBack | Flush


@dataclass(slots=True)
class Tally:
    """Sums over stored results."""

    rows: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    latency_seconds: float = 0.0

    def add(self, result: Result) -> None:
        """Take in one more."""
        self.rows += 1
        self.input_tokens += result.input_tokens
        self.cached_tokens += result.cached_tokens
        self.output_tokens += result.output_tokens
        self.latency_seconds += (result.latency_ms or 0) / 1000

    def merge(self, other: Tally) -> None:
        """Take in what another one has."""
        self.rows += other.rows
        self.input_tokens += other.input_tokens
        self.cached_tokens += other.cached_tokens
        self.output_tokens += other.output_tokens
        self.latency_seconds += other.latency_seconds


class Writer(threading.Thread):
    """Stores what it is given, in order, at most 200 rows or 8 MB a transaction.

    `on_lost` is called (from this thread) with a lease that turned out to be gone;
    `on_stored` with the results that left the backlog and their characters. `trouble`
    says why nothing can be stored just now. An error that it cannot handle ends the
    thread and is told in `failed`.
    """

    def __init__(
        self,
        *,
        on_lost: Callable[[ChunkLease], None],
        on_stored: Callable[[int, int], None],
    ) -> None:
        super().__init__(name="feeder-writer", daemon=True)
        self._on_lost = on_lost
        self._on_stored = on_stored
        self._items: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._stop_now = threading.Event()
        self.stored = 0
        self.output_tokens = 0
        self._tally: dict[Work, Tally] = {}
        self._pending: Counter[ChunkLease] = Counter()
        self._lock = threading.Lock()
        self.trouble = ""
        self.failed = ""

    def put(self, item: Item) -> None:
        """Hand over one item; never blocks (the feeder bounds the backlog)."""
        if not isinstance(item, Flush):
            with self._lock:
                self._pending[item.lease] += 1
        self._items.put(item)

    def leases(self) -> list[ChunkLease]:
        """Claims with something still to store, which must not run out meanwhile."""
        with self._lock:
            return list(self._pending)

    def _done(self, lease: ChunkLease, items: int) -> None:
        with self._lock:
            self._pending[lease] -= items
            if self._pending[lease] <= 0:
                del self._pending[lease]

    def flush(self, timeout: float) -> bool:
        """Wait until everything handed over so far is stored; False after `timeout` s."""
        marker = Flush()
        self.put(marker)
        return marker.done.wait(timeout)

    def stop(self, timeout: float) -> None:
        """Store what is there and end the thread."""
        self.flush(timeout)
        self._stop_now.set()
        self.put(Flush())
        self.join(timeout)

    def run(self) -> None:
        """Body of the thread."""
        try:
            while not self._stop_now.is_set():
                self._commit(self._collect())
        except BaseException as error:
            logger.exception("the writer fails")
            self.failed = f"{type(error).__name__}: {error}"
        finally:
            connection.close()

    def _collect(self) -> list[Item]:
        """Items of about a second, cut short by size, a flush or a chunk's end."""
        items = [self._items.get()]
        deadline = time.monotonic() + COMMIT_SECONDS
        characters = 0
        while True:
            newest = items[-1]
            if isinstance(newest, Flush):
                return items
            if isinstance(newest, Written):
                characters += len(newest.result.body)
                if newest.last:
                    # Whoever waits for the end of the batch need not wait for more.
                    return items
            if len(items) >= COMMIT_ROWS or characters >= COMMIT_CHARACTERS:
                return items
            try:
                items.append(self._items.get(timeout=deadline - time.monotonic()))
            except (queue.Empty, ValueError):
                return items

    def _commit(self, items: Sequence[Item]) -> None:
        """Store the items, chunk by chunk."""
        groups: dict[ChunkLease, list[Written]] = defaultdict(list)
        for item in items:
            if isinstance(item, Written):
                groups[item.lease].append(item)
        for lease, group in groups.items():
            self._store(lease, group)
            self._done(lease, len(group))
            self._on_stored(len(group), sum(len(i.result.body) for i in group))
        for item in items:
            if isinstance(item, GivenBack):
                back = functools.partial(
                    give_back, item.lease, count_attempt=item.count_attempt
                )
                self._persist(back)
                self._done(item.lease, 1)
            elif isinstance(item, Flush):
                item.done.set()

    def _store(self, lease: ChunkLease, group: list[Written]) -> None:
        def store() -> None:
            record(
                lease,
                [item.result for item in group],
                with_copies=any(item.has_copies for item in group),
                finished=any(item.last for item in group),
            )

        try:
            self._persist(store)
        except LeaseLost:
            logger.warning(
                "chunk %d is no longer ours; its results are dropped", lease.chunk
            )
            self._on_lost(lease)
            return
        except IntegrityError:
            try:
                self._persist(lambda: self._without_known(lease, group))
            except LeaseLost:
                self._on_lost(lease)
                return
        self._count(lease, group)

    def _count(self, lease: ChunkLease, group: list[Written]) -> None:
        self.stored += len(group)
        self.output_tokens += sum(item.result.output_tokens for item in group)
        with self._lock:
            for item in group:
                work = (lease.batch, item.model)
                self._tally.setdefault(work, Tally()).add(item.result)

    def take_tally(self) -> dict[Work, Tally]:
        """What was stored since the last call, by batch and model."""
        with self._lock:
            taken, self._tally = self._tally, {}
        return taken

    def _without_known(self, lease: ChunkLease, group: list[Written]) -> None:
        """Store only what is not stored: a commit went through though its reply was lost."""
        known = set(
            Result.objects.filter(
                request__in=[item.result.request_id for item in group]
            ).values_list("request_id", flat=True)
        )
        logger.warning("%d of %d results were stored already", len(known), len(group))
        fresh = [item.result for item in group if item.result.request_id not in known]
        record(
            lease,
            fresh,
            with_copies=any(item.has_copies for item in group),
            finished=any(item.last for item in group),
        )

    def _persist(self, write: Callable[[], object]) -> None:
        """Run a write; while the database does not take it, try again each second.

        Values that it can never take and leases that were lost are the write's own
        business: by them, too, the database has answered.
        """
        while True:
            try:
                write()
            except (IntegrityError, DataError, LeaseLost):
                self.trouble = ""
                raise
            except (DatabaseError, InterfaceError) as error:
                logger.exception("the database takes no results; they wait")
                self.trouble = str(error) or type(error).__name__
                connection.close()
                time.sleep(1)
                close_old_connections()
            else:
                self.trouble = ""
                return
