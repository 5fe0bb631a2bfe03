# SPDX-License-Identifier: Apache-2.0
"""Sees to it that an engine starts only when its predecessor's GPU memory is free.

A process that has ended may hold its memory for seconds; a start meanwhile fails, or
sizes its cache for what is left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from jobs.processes import start_time

from .gpus import Usage, read_usage

# After so many seconds the engine is started all the same, with a warning.
LIMIT_SECONDS = 30.0
ASK_SECONDS = 0.2
# Contexts of other processes come and go.
TOLERANCE = 512 * 1024**2


class MemoryGate:
    """Holds a start back while memory is in use that was free before the first one.

    The GPUs are read beside the host's loop, which a driver in trouble must not block.
    """

    def __init__(
        self,
        gpu_ids: str = "",
        *,
        read: Callable[[str], Sequence[Usage]] = read_usage,
        alive: Callable[[int], bool] = lambda pid: start_time(pid) is not None,
    ) -> None:
        self._gpu_ids = gpu_ids
        self._read = read
        self._alive = alive
        self._before: Sequence[Usage] | None = None
        self._open = False
        self._closed_at = time.monotonic()
        self._asked_at = 0.0
        self._reading: Reading | None = None
        self.warning = ""

    def close(self) -> None:
        """An engine has just ended: the next start has to wait for its memory."""
        # Without a GPU there is nothing to wait for.
        self._open = self._before is not None and not self._before
        self._closed_at = time.monotonic()
        self._reading = None

    def why_wait(self) -> str:
        """What a start has to wait for, in words; "" lets it through.

        A start that goes through in spite of memory in use leaves `warning`.
        """
        if self._open:
            return ""
        waited = time.monotonic() - self._closed_at
        usage = self._newest()
        if usage is None:
            words = "asks the GPUs which memory is free"
        elif self._before is None:
            words, self._before = "", usage
        else:
            words = held(usage, self._before, self._alive)
        if words and waited < LIMIT_SECONDS:
            return f"{words}; waits for {waited:.0f} s"
        self._open = True
        self.warning = words and f"starts after {waited:.0f} s all the same: {words}"
        if words and usage is not None:
            # Whoever holds it goes on doing so: not another wait for the same.
            self._before = usage
        return ""

    def _newest(self) -> Sequence[Usage] | None:
        """The last whole reading from after close(); asks for the next one."""
        now = time.monotonic()
        last = self._reading
        if last is None or (
            last.usage is not None and now - self._asked_at > ASK_SECONDS
        ):
            self._asked_at = now
            self._reading = Reading(self._read, self._gpu_ids)
            self._reading.start()
            self._reading.join(0.05)
        fresh = self._reading.usage if self._reading else None
        return fresh if fresh is not None else (last.usage if last else None)


class Reading(threading.Thread):
    """One reading of the GPUs; `usage` is None until it is there."""

    def __init__(self, read: Callable[[str], Sequence[Usage]], gpu_ids: str) -> None:
        super().__init__(name="gpu-usage", daemon=True)
        self._read = read
        self._gpu_ids = gpu_ids
        self.usage: Sequence[Usage] | None = None

    def run(self) -> None:
        self.usage = self._read(self._gpu_ids)


def held(
    now: Sequence[Usage], before: Sequence[Usage], alive: Callable[[int], bool]
) -> str:
    """Memory in use now that was free before, in words; "" when there is none.

    What other living processes have taken meanwhile is theirs, and no reason to wait.
    """
    earlier = {usage.uuid: usage for usage in before}
    for usage in now:
        was = earlier.get(usage.uuid)
        if was is None:
            continue
        dead = [p for p in usage.processes if p not in was.processes and not alive(p)]
        if dead:
            return (
                f"memory of GPU {usage.index} is still held by"
                f" {_named(usage, dead)}, which ended"
            )
        if usage.used is None or was.used is None:
            continue
        extra = (usage.used - _told(usage)) - (was.used - _told(was))
        if extra > TOLERANCE:
            holders = _named(usage, list(usage.processes)) or "no process that it names"
            return (
                f"{_gb(extra)} of GPU {usage.index} are in use that were free before;"
                f" the driver names {holders}"
            )
    return ""


def _told(usage: Usage) -> int:
    """Bytes of which the driver tells whose they are."""
    return sum(used or 0 for used in usage.processes.values())


def _named(usage: Usage, pids: Sequence[int]) -> str:
    """The processes with what they hold: "process 12 (20.1 GB)"."""
    return ", ".join(
        f"process {pid}" + (f" ({_gb(used)})" if (used := usage.processes[pid]) else "")
        for pid in sorted(pids)
    )


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
