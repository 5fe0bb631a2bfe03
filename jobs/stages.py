# SPDX-License-Identifier: Apache-2.0
"""Who works on a batch's intake, closing and files: a lease on the Batch row.

Whoever holds the lease writes only `WHERE stage_epoch = mine`; each stage resumes
from the tables, so that any control worker can go on where another one died.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

import structlog
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from . import disks, intake, lifecycle, output, processes
from .jsonl import quoted
from .models import Batch, BatchFile
from .models.engines import HEARTBEAT_SECONDS, STALE_SECONDS, database_time
from .tasks import poke_stage

logger = logging.getLogger(__name__)
YIELD_SECONDS = 60
# A message may name a temporary file, and so be another one in each try.
FAILURES_TOLD = 20


class StageLost(Exception):
    """Another worker holds the batch's stage now; this one must write nothing."""


class StatusMoved(Exception):
    """The batch left the status that the stage belongs to; the stage is over."""


class StageLease:
    """The right to work on one batch's stages, kept by a heartbeat thread.

    `epoch` goes into the WHERE of every write; `check()` raises StageLost as soon as
    the heartbeat found the lease gone; `used_up` says that it is time to yield.
    """

    def __init__(self, batch: Batch, epoch: int) -> None:
        self.batch = batch
        self.epoch = epoch
        self._lost = False
        self.start_turn()

    def check(self) -> None:
        """Raise StageLost when the lease was seen to be gone."""
        if self._lost:
            raise StageLost(self.batch.public_id)

    def start_turn(self) -> None:
        """Count the turn from now: what came before is lost when the stage yields."""
        self._started = time.monotonic()

    @property
    def used_up(self) -> bool:
        """Whether this turn took its minute; long stages then give way to others."""
        return time.monotonic() - self._started > YIELD_SECONDS

    def fence(self, *, status: str | None = None, **columns: Any) -> None:
        """Update the batch's row if the lease is ours, else raise StageLost.

        With `status`, raises StatusMoved when the batch is no longer in it. The first
        statement of each of the stage's write transactions: it locks the row, so that
        nobody can take the stage or move the batch before the transaction ends.
        """
        ours = Batch.objects.filter(pk=self.batch.pk, stage_epoch=self.epoch)
        due = ours if status is None else ours.filter(status=status)
        if due.update(**columns, stage_lease_expires_at=database_time(STALE_SECONDS)):
            return
        raise (StatusMoved if ours.exists() else StageLost)(self.batch.public_id)

    def renew(self) -> bool:
        """Put the lease's end 15 s ahead; False when it is no longer ours."""
        kept = Batch.objects.filter(pk=self.batch.pk, stage_epoch=self.epoch).exclude(
            stage_owner=""
        )
        self._lost = not kept.update(
            stage_lease_expires_at=database_time(STALE_SECONDS)
        )
        return not self._lost

    @contextlib.contextmanager
    def files(self, folder: str) -> Iterator[Callable[[str, IO[bytes]], str]]:
        """Gives `store(role, content)`, which saves a file and returns its storage name.

        Within the block a row must come to name each file; what no row names at its
        end is deleted. The names are fixed by batch, role and epoch: so a save that
        failed half-way (a full disk leaves a part of the file) can be deleted without
        its answer, and files of an earlier turn that was killed can be found.
        """
        shelf = f"{folder}/{self.batch.public_id[-2:]}"
        self._delete_unnamed(self._earlier_files(shelf))
        names: list[str] = []

        def store(role: str, content: IO[bytes]) -> str:
            content.seek(0)
            names.append(f"{shelf}/{self.batch.public_id}-{role}-{self.epoch}")
            names[-1] = default_storage.save(names[-1], File(content, name=role))
            return names[-1]

        try:
            yield store
        finally:
            self._delete_unnamed(names)

    def _earlier_files(self, shelf: str) -> list[str]:
        """Files of the batch by this epoch and those before; a later one is at work."""
        try:
            found = default_storage.listdir(shelf)[1]
        except FileNotFoundError:
            return []
        ours = re.compile(rf"{self.batch.public_id}-[a-z]+-(\d+)")
        parts = ((name, ours.match(name)) for name in found)
        return [f"{shelf}/{name}" for name, m in parts if m and int(m[1]) <= self.epoch]

    def _delete_unnamed(self, names: list[str]) -> None:
        """Delete files unless a row names them; the next turn does it if we cannot ask."""
        if not names:
            return
        try:
            with transaction.atomic():
                # A COMMIT whose reply was lost may still be under way and publish the
                # files: it holds the batch's row, so that this waits for its end.
                batches = Batch.objects.select_for_update().filter(pk=self.batch.pk)
                reports = set(batches.values_list("error_report", flat=True))
                rows = BatchFile.objects.filter(storage_name__in=names)
                named = reports.union(rows.values_list("storage_name", flat=True))
        except DatabaseError:
            logger.warning("cannot tell which of %s are in use", names, exc_info=True)
            return
        for name in names:
            if name not in named:
                default_storage.delete(name)

    def beat(self, stop: threading.Event) -> None:
        """Body of the heartbeat thread.

        A database that does not answer is asked again until the lease must have ended;
        from then on another worker may hold it.
        """
        renewed = time.monotonic()
        try:
            while not stop.wait(HEARTBEAT_SECONDS):
                asked = time.monotonic()
                try:
                    if not self.renew():
                        return
                    renewed = asked
                except DatabaseError:
                    logger.warning("cannot renew the stage lease", exc_info=True)
                    connection.close()
                    if time.monotonic() - renewed > STALE_SECONDS:
                        self._lost = True
                        return
        finally:
            connection.close()


def take(batch: Batch) -> StageLease | None:
    """Take the free stage lease of a batch; None when somebody holds it."""
    epoch = batch.stage_epoch
    won = Batch.objects.filter(
        Q(stage_lease_expires_at__isnull=True) | Q(stage_lease_expires_at__lt=Now()),
        pk=batch.pk,
        stage_epoch=epoch,
    ).update(
        stage_owner=processes.token(),
        stage_epoch=F("stage_epoch") + 1,
        stage_lease_expires_at=database_time(STALE_SECONDS),
    )
    return StageLease(batch, epoch + 1) if won else None


def release(lease: StageLease) -> None:
    """Give the lease back, if it is still ours."""
    Batch.objects.filter(pk=lease.batch.pk, stage_epoch=lease.epoch).update(
        stage_owner="", stage_lease_expires_at=None
    )


@contextlib.contextmanager
def held(batch: Batch) -> Iterator[StageLease | None]:
    """The stage lease with its heartbeat for the length of a with block."""
    lease = take(batch)
    if lease is None:
        yield None
        return
    stop = threading.Event()
    thread = threading.Thread(target=lease.beat, args=(stop,), name="stage-heartbeat")
    thread.start()
    try:
        yield lease
    finally:
        stop.set()
        thread.join()
        release(lease)


def free_dead_owners() -> int:
    """Free leases whose owner is provably gone; how many."""
    owners = (
        Batch.objects.active()
        .exclude(stage_owner="")
        .values_list("stage_owner", flat=True)
        .distinct()
    )
    gone = [owner for owner in owners if processes.provably_gone(owner)]
    return (
        Batch.objects.active()
        .filter(stage_owner__in=gone)
        .update(stage_owner="", stage_lease_expires_at=None)
    )


def attend_batch(batch_pk: int) -> str:
    """Do what the batch's status asks for, stage after stage; says how it ended."""
    batch = Batch.objects.filter(pk=batch_pk).first()
    if batch is None or batch.is_terminal:
        return "nothing to do"
    with (
        structlog.contextvars.bound_contextvars(batch=batch.public_id),
        held(batch) as lease,
    ):
        if lease is None:
            return "somebody else is at it"
        try:
            unfinished = _work(batch, lease)
        except StageLost:
            logger.warning("lost the stage lease of %s", batch.public_id)
            return "lost the lease"
        except disks.NoRoom as full:
            return _wait_for_room(batch, full.why)
        except Exception as error:
            if disks.is_full(error):
                return _wait_for_room(batch, f"a disk is full ({error})")
            logger.exception("a stage of %s failed", batch.public_id)
            _tell_failure(batch, error)
            raise
    if unfinished:
        poke_stage(batch.pk)
    return f"{batch.status}{', goes on' if unfinished else ''}"


def _wait_for_room(batch: Batch, why: str) -> str:
    """Say once in the batch's history that it waits; it is tried every 5 s."""
    logger.warning("%s waits: %s", batch.public_id, why)
    try:
        newest = batch.events.order_by("-pk").values_list("kind", flat=True).first()
        if newest != "stage_waits":
            lifecycle.note(batch.pk, "stage_waits", quoted(why, most=500))
    except DatabaseError:
        logger.warning("cannot note that it waits", exc_info=True)
    return "waits for disk space"


def _tell_failure(batch: Batch, error: Exception) -> None:
    """Say once in the batch's history why it does not go on; it is tried every 5 s."""
    message = f"{type(error).__name__}: {quoted(str(error), most=500)}"
    try:
        events = batch.events.filter(kind="stage_failed")
        told = list(events.values_list("message", flat=True)[:FAILURES_TOLD])
        if message not in told and len(told) < FAILURES_TOLD:
            lifecycle.note(batch.pk, "stage_failed", message)
    except DatabaseError:
        logger.warning("cannot note the failure", exc_info=True)


def _work(batch: Batch, lease: StageLease) -> bool:
    """Run stages until nothing is due or the turn is used up; True: poke again."""
    Status = Batch.Status
    while not lease.used_up:
        batch.refresh_from_db()
        # Whoever moved the batch wants another stage, which the next round begins.
        with contextlib.suppress(StatusMoved):
            if batch.status in (
                Status.VALIDATING,
                Status.IN_PROGRESS,
            ) and lifecycle.overrun(batch):
                continue
            if batch.status == Status.VALIDATING:
                if not intake.run(batch, lease):
                    return True
            elif batch.status == Status.IN_PROGRESS:
                if batch.chunks.open().exists() or not lifecycle.finalize(
                    batch, epoch=lease.epoch
                ):
                    return False
            elif batch.is_terminal or not output.finish(batch, lease):
                return False
    return True
