# SPDX-License-Identifier: Apache-2.0
"""The processes of a whole site, each started again when it ends, as systemd does."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from batchsite.management.commands.up import web_server
from jobs.cluster import GIVE_UP
from jobs.processes import children, start_time
from tests.postgres import free_port
from tests.site import ROOT, Process, Site, wait_for

MODEL = "tiny"
ENGINE = "gpu0"
# What `up` waits at first; systemd's own choice is shorter.
RESTART_SECONDS = 0.5
# In the order in which they are stopped.
NAMES = ("web", "control", "feeder", "host")


@dataclass
class Kept:
    """A command and its present process; `family`: how many processes it has below it."""

    name: str
    command: Sequence[str]
    ready: str
    family: int
    process: Process | None = None
    ended_at: float = 0.0
    codes: list[int] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The main process."""
        assert self.process is not None
        return self.process.pid

    @property
    def whole(self) -> bool:
        """Whether it is up, with all the processes below it."""
        if self.process is None or self.process.popen.poll() is not None:
            return False
        return self.ready in self.process.log() and self.below >= self.family

    @property
    def below(self) -> int:
        """How many processes are below the main one."""
        return len(descendants(self.pid)) - 1


class Keepers:
    """Use as a context manager: starts web, both workers and the engine host, and keeps them.

    Leaving it stops them as an operator does, and asserts that they end well and that
    no process stays. One thread starts all of them, as the kernel ends a child whose
    starting thread is gone.
    """

    def __init__(
        self,
        site: Site,
        *engine_args: str,
        env: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """`env`: what some of the processes get more in their environment, by name."""
        self.site = site
        self._env = env or {}
        self.port = free_port()
        self.kept = {kept.name: kept for kept in commands(self.port)}
        self._engine_args = engine_args
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keepers", daemon=True)

    def __enter__(self) -> Self:
        add_model(self.site, *self._engine_args)
        self._thread.start()
        wait_for(self.whole, timeout=90, what=f"the whole site: {self.state()}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        try:
            if error is None:
                self._stop()
        finally:
            self._over.set()
            self._thread.join(30)

    def _keep(self) -> None:
        for name in ("host", "web", "control", "feeder"):
            self._start(self.kept[name])
            if name == "host":
                # The feeder's command refuses an engine that was never there.
                wait_for(lambda: self.site.engine(ENGINE), timeout=60)
        while not self._stopping.wait(0.1):
            for kept in self.kept.values():
                self._tend(kept)
        self._over.wait()

    def _tend(self, kept: Kept) -> None:
        assert kept.process is not None
        if (code := kept.process.popen.poll()) is None:
            return
        if not kept.ended_at:
            kept.ended_at = time.monotonic()
            kept.codes.append(code)
        if time.monotonic() - kept.ended_at >= RESTART_SECONDS:
            self._start(kept)

    def _start(self, kept: Kept) -> None:
        # The disks of tests are small.
        env = {"BATCHSITE_WEB_PROCESSES": "2", "BATCHSITE_MIN_FREE_BYTES": "0"}
        env |= self._env.get(kept.name, {})
        kept.process = self.site.launch(kept.command, name=kept.name, **env)
        kept.ended_at = 0.0

    def _stop(self) -> None:
        for name in NAMES:
            process = self.kept[name].process
            assert process is not None
            process.signal(signal.SIGTERM)
            assert _ended_well(process), process.log()
        assert self.site.left_over() == {}

    def whole(self) -> bool:
        """Whether every process is up."""
        return all(kept.whole for kept in self.kept.values())

    def state(self) -> str:
        """What runs, in words."""
        return "; ".join(
            f"{kept.name} ended with {kept.codes}, {'up' if kept.whole else 'not up'}"
            for kept in self.kept.values()
        )

    def orphans(self) -> dict[int, str]:
        """Processes of the site that belong to nothing that is kept."""
        families = {
            pid
            for kept in self.kept.values()
            if kept.process is not None
            for pid in descendants(kept.pid)
        }
        found = self.site.left_over()
        return {pid: command for pid, command in found.items() if pid not in families}

    def engine_pid(self) -> int:
        """The engine's API server; 0 while there is none."""
        below = [pid for pid in children(self.kept["host"].pid) if _is_engine(pid)]
        return min(below, default=0)


def _ended_well(process: Process) -> bool:
    """Whether a process that was told to stop did so.

    One that was started a moment ago may not handle signals yet. A worker whose pusher
    or monitor was killed a moment ago was about to give up, and may have come to it.
    """
    code = process.wait(timeout=60)
    if code == GIVE_UP:
        return "the cluster's pusher or monitor died" in process.log()
    return code in (0, -signal.SIGTERM)


def _is_engine(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:  # noqa: PTH123 - a kernel file
            return b"tests.engine_server" in line.read()
    except OSError:
        return False


def descendants(pid: int) -> set[int]:
    """The process and all below it, as far as they live."""
    found = {pid} if start_time(pid) is not None else set()
    for child in children(pid):
        found |= descendants(child)
    return found


def commands(port: int) -> list[Kept]:
    """What is kept, in the order of NAMES."""
    manage = (sys.executable, str(ROOT / "manage.py"))
    return [
        Kept("web", web_server("127.0.0.1", port).command, "", 2),
        Kept("control", (*manage, "runworker"), "Control worker is ready.", 5),
        Kept(
            "feeder",
            (*manage, "runworker", "--engine", ENGINE),
            f"Worker of engine {ENGINE} is ready.",
            4,
        ),
        Kept("host", (*manage, "runengine", "--name", ENGINE), "runs", 0),
    ]


def add_model(site: Site, *engine_args: str) -> None:
    """A model that the managed engine can load."""
    folder = site.folder / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["Tiny"]}))
    site.run("addmodel", MODEL, "--source", str(folder))
    site.query("UPDATE jobs_servedmodel SET engine_args = %s", json.dumps(engine_args))
