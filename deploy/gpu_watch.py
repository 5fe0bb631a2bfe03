# SPDX-License-Identifier: Apache-2.0
"""What an engine does second by second: its states, and the memory in use meanwhile."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jobs import processes
from jobs.engines import gpus
from jobs.engines.child import read_record, record_paths
from tests.site import Site

EVERY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Moment:
    """The engine at one time (`at`, monotonic seconds); `memory` in bytes."""

    at: float
    state: str
    generation: int
    memory: int


@dataclass(frozen=True, slots=True)
class Swap:
    """From one model to another: seconds in all and of loading; least memory between."""

    seconds: float
    load: float
    memory: int


def swaps(moments: Sequence[Moment]) -> list[Swap]:
    """Each way from ready over another state to ready with a newer generation."""
    found = []
    left: Moment | None = None
    loading: Moment | None = None
    least = 0
    for before, now in itertools.pairwise(moments):
        if before.state == "ready" and now.state != "ready":
            left, loading, least = now, None, now.memory
        if left is None:
            continue
        least = min(least, now.memory)
        if now.state == "loading" and loading is None:
            loading = now
        if now.state == "ready":
            if loading is not None and now.generation > left.generation:
                found.append(Swap(now.at - left.at, now.at - loading.at, least))
            left = None
    return found


def gaps(answers: Sequence[tuple[datetime, int]]) -> list[float]:
    """Seconds without an answer at each change of generation; times and generations."""
    found = []
    for (before, old), (now, new) in itertools.pairwise(sorted(answers)):
        if new != old:
            found.append((now - before).total_seconds())
    return found


def answers_of(site: Site) -> list[tuple[datetime, int]]:
    """When each result was stored, and by which generation."""
    rows = site.query("SELECT created_at, provenance FROM jobs_result")
    return [
        (
            datetime.fromisoformat(row["created_at"]),
            json.loads(row["provenance"])["generation"],
        )
        for row in rows
    ]


class Memory:
    """Memory in use: of all GPUs, or on a CPU what engines of this site hold."""

    def __init__(self, *, cpu: bool, run_dir: Path) -> None:
        """`run_dir` has the records of the engine's sessions."""
        self._cpu = cpu
        self._run_dir = run_dir
        # Those of earlier starts too: nothing of them may be left.
        self._sessions: set[int] = set()

    def in_use(self) -> int:
        """Bytes just now."""
        if not self._cpu:
            return sum(gpu["memory_used"] or 0 for gpu in gpus.read_gpus().gpus)
        for path in record_paths(self._run_dir, "local").values():
            if record := read_record(path):
                self._sessions.add(record.session)
        pids = [p for s in self._sessions for p in processes.session_members(s)]
        return sum(map(_resident, pids))


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def text_of(size: int) -> str:
    """Bytes as gigabytes."""
    return f"{size / 1e9:.2f} GB"


class Watch(threading.Thread):
    """Looks at the site's engine `local` until it is stopped."""

    def __init__(self, site: Site, memory: Memory) -> None:
        super().__init__(name="gpu-check-watch", daemon=True)
        self.moments: list[Moment] = []
        self._site = site
        self._memory = memory
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(EVERY_SECONDS):
            row = self._site.engine("local")
            self.moments.append(
                Moment(
                    time.monotonic(),
                    row["state"],
                    row["generation"],
                    self._memory.in_use(),
                )
            )

    def stop(self) -> None:
        """End it."""
        self._ending.set()
        self.join()
