# SPDX-License-Identifier: Apache-2.0
"""How much room is left where Batchsite writes: data folder, spool and storage."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import psycopg
from django.conf import settings
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import DatabaseError

from .health import GB, Disk
from .refusals import Refused

READ_SECONDS = 2.0
# A disk that tells nothing for so long, as one of a file server that is gone.
SILENT_SECONDS = 30.0


class NoRoom(Refused):
    """There is too little space on a disk to write anything; `why` has the figures."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"There is too little disk space on the server: {why}. Nothing was stored;"
            " please try again later, or tell whoever runs this site.",
            code="insufficient_storage",
        )
        self.why = why


def read() -> list[Disk]:
    """The disks that are written to from here, each once."""
    places = [("the data folder", settings.DATA_DIR), ("the spool", settings.SPOOL_DIR)]
    # Others, as S3, have no disk that could be looked at.
    if isinstance(default_storage, FileSystemStorage):
        places.append(("the storage", Path(default_storage.location)))
    found: dict[int, Disk] = {}
    silent = []
    for name, path in places:
        try:
            there = _existing(path)
            device = there.stat().st_dev
            if device not in found:
                found[device] = Disk(name, shutil.disk_usage(there).free)
        except OSError:
            silent.append(Disk(name, None))
    return [*found.values(), *silent]


def _existing(path: Path) -> Path:
    """The path, or the folder above it in which it will be made."""
    return next(one for one in (path, *path.parents) if one.exists())


def shortage(more: int = 0) -> str:
    """Which disk has too little room for `more` bytes, with its figures; "" for none."""
    least = settings.BATCHSITE_MIN_FREE_BYTES
    if not least:
        return ""
    for disk in read():
        if disk.free is not None and disk.free - more < least:
            return (
                f"the disk of {disk.name} has {disk.free / GB:.2f} GB free, and"
                f" {least / GB:.2f} GB must stay free"
            )
    return ""


def check(more: int = 0) -> None:
    """NoRoom when `more` bytes would leave less than BATCHSITE_MIN_FREE_BYTES."""
    if found := shortage(more):
        raise NoRoom(found)


def is_full(error: BaseException) -> bool:
    """Whether it failed because a disk, or the database's, is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    cause = error.__cause__ if isinstance(error, DatabaseError) else None
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    return isinstance(cause, psycopg.errors.DiskFull)


class Watch(threading.Thread):
    """Reads the disks every 2 s: one of a file server that is gone blocks for ever."""

    def __init__(self) -> None:
        super().__init__(name="disk-watch", daemon=True)
        self._ending = threading.Event()
        self._first = threading.Event()
        self._latest: list[Disk] = []
        self._read_at = time.monotonic()

    def run(self) -> None:
        while True:
            self._latest, self._read_at = read(), time.monotonic()
            self._first.set()
            if self._ending.wait(READ_SECONDS):
                return

    def disks(self) -> list[Disk]:
        """The newest reading; waits a second for the first one."""
        self._first.wait(1)
        if time.monotonic() - self._read_at < SILENT_SECONDS:
            return self._latest
        return [Disk("the data folder", None)]

    def end(self) -> None:
        """Let the thread end."""
        self._ending.set()
