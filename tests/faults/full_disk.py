# SPDX-License-Identifier: Apache-2.0
"""A folder on a disk that can be filled up and emptied again.

Where mounting is permitted it is a small file system of its own. Elsewhere the limit
of a file's size stands in: the kernel then refuses, as on a full disk, what would make
a file longer, for as long as the limit is pressed on every process of the site.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.site import Site

SIZE = "64m"
# Shorter than any result file of these tests, and than the database.
LONGEST_FILE = 32_768
UNLIMITED = resource.RLIM_INFINITY


class FullDisk:
    """`fill` and `free` it; `folder` is where the site is to be made."""

    is_a_disk = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, site: Site) -> None:
        """Leave no byte."""
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(ballast.fileno(), ballast.tell(), size)
                        ballast.seek(size, os.SEEK_CUR)

    def free(self) -> None:
        """Make room again."""
        (self.folder / "ballast").unlink()


class ShortFiles(FullDisk):
    """The stand-in: no process of the site may write beyond some offset of a file."""

    is_a_disk = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._freed = threading.Event()
        self._site: Site | None = None
        self._thread = threading.Thread(target=self._press, daemon=True)

    def fill(self, site: Site) -> None:
        self._site = site
        self._limit(LONGEST_FILE)
        self._thread.start()

    def _press(self) -> None:
        # Processes that are started meanwhile have no limit yet.
        while not self._freed.wait(0.2):
            self._limit(LONGEST_FILE)

    def _limit(self, most: int) -> None:
        assert self._site is not None
        for pid in self._site.left_over():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, UNLIMITED))

    def free(self) -> None:
        self._freed.set()
        self._thread.join()
        self._limit(UNLIMITED)


@contextlib.contextmanager
def made_full(folder: Path, *, mounted: bool) -> Iterator[FullDisk]:
    """A folder on a disk of its own; the stand-in if unwanted or not permitted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs"]
    if mounted and not subprocess.run([*command, str(folder)], check=False).returncode:
        try:
            yield FullDisk(folder)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        return
    # Else the signal would end a process where an error is expected; children inherit
    # that it is ignored, which Python sees to by itself.
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
    yield ShortFiles(folder)
