# SPDX-License-Identifier: Apache-2.0
"""Child processes of `manage.py up`: started, logged with a prefix, restarted, stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from jobs.processes import child_setup, kill_session, sessions_below

logger = logging.getLogger(__name__)
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 30.0
WIDTH = 16


class Child:
    """One process in a session of its own; dies (SIGTERM) with this process.

    The session keeps Ctrl-C away from it: the foreman alone decides who stops when.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.command = list(command)
        self.wanted = True
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._popen: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_at = 0.0
        self._pause = 0.5

    @property
    def alive(self) -> bool:
        """Whether the process runs now."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int | None:
        """Its pid, which is also its session; None before the first start."""
        return self._popen.pid if self._popen else None

    def tend(self) -> None:
        """Start it when it should run and does not; after deaths with growing pauses."""
        if self.alive or not self.wanted:
            return
        now = time.monotonic()
        if self._popen is not None:
            self._mourn(now)
        if now >= self._start_at:
            self._start(now)

    def _mourn(self, now: float) -> None:
        assert self._popen is not None
        code = self._popen.returncode
        steady = now - self._started_at > STEADY_SECONDS
        self._pause = 0.5 if steady else min(LONGEST_PAUSE, self._pause * 2)
        self._start_at = now + self._pause
        kill_session(self._popen.pid)
        self._popen = None
        say(self.name, f"ended with {code}; starting again in {self._pause:.0f} s")

    def _start(self, now: float) -> None:
        self._popen = subprocess.Popen(  # noqa: S603 - our own commands
            self.command,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=child_setup(signal.SIGTERM),
        )
        self._started_at = now
        threading.Thread(
            target=self._relay,
            args=(self._popen,),
            name=f"relay-{self.name}",
            daemon=True,
        ).start()

    def _relay(self, popen: subprocess.Popen[bytes]) -> None:
        """Copy its output, each line with its name in front."""
        assert popen.stdout is not None
        with popen.stdout as lines:
            for line in lines:
                say(self.name, line.decode(errors="replace").rstrip("\n"))

    def ask_to_stop(self) -> None:
        """SIGTERM to the process alone; it takes care of its own children."""
        self.wanted = False
        if self._popen is not None and self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, its session, and the sessions that processes below it made, at once."""
        self.wanted = False
        if self._popen is None:
            return
        # An engine has a session of its own, and need not end with its host.
        below = sessions_below(self._popen.pid) if self.alive else ()
        kill_session(self._popen.pid)
        for session in below:
            kill_session(session)
        self._popen.wait()


def say(name: str, text: str) -> None:
    """One line of output with the name of the process it is about.

    A line that cannot be written is dropped: a full disk or a closed terminal must
    neither end the foreman nor block a child on its full pipe.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(f"{name:<{WIDTH}}| {text}\n")
        sys.stdout.flush()


def stop_all(
    children: Sequence[Child],
    *,
    seconds: float,
    hurry: threading.Event,
    urge_seconds: float = 0,
) -> None:
    """SIGTERM to all, wait `seconds` or until `hurry` is set, and kill what is left.

    Before the kill come `urge_seconds` in which SIGTERM is repeated, for those to whom a
    second one means "at once".
    """
    for child in children:
        child.ask_to_stop()
    _wait(children, seconds, until=hurry.is_set)
    urge_until = time.monotonic() + urge_seconds
    while _wait(children, 0) and time.monotonic() < urge_until:
        # One alone could merge with the first where that is not delivered yet.
        for child in children:
            child.ask_to_stop()
        _wait(children, 0.2)
    for child in children:
        if child.alive:
            say(child.name, "did not stop in time and is killed")
        child.kill()


def _wait(
    children: Sequence[Child],
    seconds: float,
    *,
    until: Callable[[], bool] = lambda: False,
) -> bool:
    """Wait for all to end, at most `seconds` or until told; whether one still lives."""
    deadline = time.monotonic() + seconds
    while any(child.alive for child in children):
        if time.monotonic() >= deadline or until():
            return True
        time.sleep(0.05)
    return False
