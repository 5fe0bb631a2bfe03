# SPDX-License-Identifier: Apache-2.0
"""What the main process of a worker does beside watching its cluster: heartbeats and pokes."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Q

from . import chores, claims, disks, engine_side, lifecycle, processes, stages
from .models import Batch, Engine, WorkerProcess
from .models.engines import HEARTBEAT_SECONDS, STALE_SECONDS, database_time
from .tasks import (
    CONTROL_QUEUE,
    ENOUGH_POKES,
    poke_chore,
    poke_engine,
    poke_stage,
    waiting_pokes,
)

logger = logging.getLogger(__name__)
POKE_SECONDS = 5
SPOOL_SECONDS = 24 * 3600
FORGOTTEN_SECONDS = 3600


def free_what_the_dead_held() -> None:
    """Free stage leases and heartbeat rows of control workers that are provably gone."""
    freed = stages.free_dead_owners()
    if freed:
        logger.info("freed %d stage leases of dead workers", freed)
    for row in WorkerProcess.objects.all():
        if processes.provably_gone(row.token):
            row.delete()


def sweep_spool() -> int:
    """Remove what killed processes left in the spool a day ago or earlier; how many.

    These are uploads and folders of intakes: both live for minutes, and whatever still
    is written has a fresh time.
    """
    spool = settings.SPOOL_DIR
    oldest = time.time() - SPOOL_SECONDS
    swept = 0
    for path in (*spool.glob("uploads/*"), *spool.glob("intake-*")):
        try:
            if _last_written(path) > oldest:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            swept += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("cannot remove %s: %s", path, error)
    return swept


def _last_written(path: Path) -> float:
    """When the file, or anything in the folder, was changed last; as time.time()."""
    found = [path]
    if path.is_dir() and not path.is_symlink():
        found.extend(path.rglob("*"))
    return float(max(one.lstat().st_mtime for one in found))


def take_worker_token(name: str, token: str) -> str | None:
    """Become the engine's worker: None, else the token of the one who is, never "".

    Free to take: no holder, a heartbeat older than 15 s by the database's clock, or a
    holder that is provably gone. The chunks of earlier workers are freed with it.
    """
    engine = Engine.objects.get(name=name)
    free = Q(worker_token="") | Q(worker_heartbeat__lt=database_time(-STALE_SECONDS))
    if processes.provably_gone(engine.worker_token):
        free |= Q(worker_token=engine.worker_token)
    won = Engine.objects.filter(free, pk=engine.pk).update(
        worker_token=token, worker_heartbeat=database_time(), in_flight=0
    )
    if not won:
        # Whoever was quicker is in the row by now, and may even have left again.
        engine.refresh_from_db(fields=["worker_token"])
        return engine.worker_token or "one that just left"
    claims.free_chunks_of(engine)
    return None


class EngineDuty:
    """The engine worker's heartbeat every 4 s, and a poke every 5 s when work waits."""

    def __init__(self, name: str, token: str) -> None:
        self.name = name
        self.token = token
        self._beat_at = 0.0
        self._poke_at = 0.0

    def show(self) -> bool:
        """The heartbeat itself; False when another worker holds the engine's token."""
        mine = Engine.objects.filter(name=self.name, worker_token=self.token)
        return bool(mine.update(worker_heartbeat=database_time()))

    def beat(self) -> bool:
        """Do what is due; False when another worker holds the engine's token."""
        now = time.monotonic()
        if now >= self._beat_at:
            if not self.show():
                return False
            self._beat_at = now + HEARTBEAT_SECONDS
        if now >= self._poke_at:
            self._poke_at = now + POKE_SECONDS
            engine = Engine.objects.select_related("loaded_model").get(name=self.name)
            if engine_side.has_work(engine):
                poke_engine(engine)
        return True

    def leave(self) -> None:
        """Give the token back, so that a successor need not wait."""
        Engine.objects.filter(name=self.name, worker_token=self.token).update(
            worker_token="", worker_heartbeat=None, in_flight=0
        )


class ControlDuty:
    """The control worker's heartbeat, and pokes for batches that want a stage and chores."""

    def __init__(self) -> None:
        self.token = processes.token()
        self._chores_at: dict[str, float] = {}
        self._beat_at = 0.0
        self._poke_at = 0.0

    def show(self) -> bool:
        """The heartbeat itself; always True."""
        WorkerProcess.objects.update_or_create(
            token=self.token,
            defaults={"heartbeat": database_time(), "trouble": disks.shortage()},
        )
        return True

    def beat(self) -> bool:
        """Do what is due; always True."""
        now = time.monotonic()
        if now >= self._beat_at:
            self.show()
            WorkerProcess.objects.filter(
                heartbeat__lt=database_time(-FORGOTTEN_SECONDS)
            ).delete()
            self._beat_at = now + HEARTBEAT_SECONDS
        if now >= self._poke_at:
            poke_waiting_batches()
            self._poke_at = now + POKE_SECONDS
        self._poke_chores(now)
        return True

    def _poke_chores(self, now: float) -> None:
        for chore in chores.every():
            if now < self._chores_at.get(chore.name, 0.0):
                continue
            self._chores_at[chore.name] = now + chore.seconds
            try:
                if chore.wanted() and waiting_pokes(CONTROL_QUEUE) < ENOUGH_POKES:
                    poke_chore(chore.name)
            except (DatabaseError, InterfaceError):
                raise
            except Exception:
                # A storage or cache that fails must not end intake and closing too.
                logger.exception("cannot look whether %s is wanted", chore.name)

    def leave(self) -> None:
        """Take the heartbeat row away."""
        WorkerProcess.objects.filter(token=self.token).delete()


@contextlib.contextmanager
def shown(
    duty: EngineDuty | ControlDuty, *, lost: Callable[[], None]
) -> Iterator[None]:
    """Go on with the heartbeat, in a thread, while the block waits for something else.

    `lost` is called, in the thread, when another worker holds the engine's token.
    """
    ended = threading.Event()

    def show() -> None:
        while not ended.is_set():
            try:
                kept = duty.show()
            except (DatabaseError, InterfaceError):
                logger.exception("the worker cannot reach the database")
                connection.close()
                kept = True
            if not kept and not ended.is_set():
                lost()
                break
            ended.wait(HEARTBEAT_SECONDS)
        connection.close()

    thread = threading.Thread(target=show, name="duty-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        # No longer: a database that hangs must not keep the worker.
        thread.join(HEARTBEAT_SECONDS)


def poke_waiting_batches() -> int:
    """Poke each batch with a free stage and something to do; how many.

    Batches past their deadline are moved here, so that engines stop taking their
    work at once.
    """
    for batch in Batch.objects.past_deadline()[:100]:
        lifecycle.overrun(batch)
    room = ENOUGH_POKES - waiting_pokes(CONTROL_QUEUE)
    if room <= 0:
        return 0
    waiting = Batch.objects.wanting_a_stage().order_by("id")[:room]
    keys = list(waiting.values_list("pk", flat=True))
    for key in keys:
        poke_stage(key)
    return len(keys)
