# SPDX-License-Identifier: Apache-2.0
"""What an engine does second by second: its states, and the memory in use meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.engines import gpus
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


def memory_in_use(cpu: bool) -> int:
    """Bytes of all GPUs' memory in use; with `cpu` what vLLM's processes hold."""
    if not cpu:
        return sum(gpu["memory_used"] or 0 for gpu in gpus.read_gpus().gpus)
    total = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            if not entry.name.isdigit() or not _is_engine(entry):
                continue
            pages = int((entry / "statm").read_text().split()[1])
            total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def _is_engine(process: Path) -> bool:
    """Whether it is vLLM's, started from here: its children are renamed "VLLM::…"."""
    command = (process / "cmdline").read_bytes()
    if b"vllm.entrypoints" not in command and not command.startswith(b"VLLM::"):
        return False
    return b"gpu-check-" in (process / "environ").read_bytes()


def text_of(size: int) -> str:
    """Bytes as gigabytes."""
    return f"{size / 1e9:.2f} GB"


class Watch(threading.Thread):
    """Looks at the site's engine `local` until it is stopped."""

    def __init__(self, site: Site, *, cpu: bool) -> None:
        super().__init__(name="gpu-check-watch", daemon=True)
        self.moments: list[Moment] = []
        self._site = site
        self._cpu = cpu
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(EVERY_SECONDS):
            row = self._site.engine("local")
            self.moments.append(
                Moment(
                    time.monotonic(),
                    row["state"],
                    row["generation"],
                    memory_in_use(self._cpu),
                )
            )

    def stop(self) -> None:
        """End it."""
        self._ending.set()
        self.join()
