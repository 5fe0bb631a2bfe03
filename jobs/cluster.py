# SPDX-License-Identifier: Apache-2.0
"""django-q2's cluster, wrapped so that it cannot wedge.

Stock `qcluster` hangs or goes on without supervision when one of its processes dies.
Here the death of its sentinel or of a worker child ends all of it at once with exit code
70, and a supervisor (`up`, systemd, Kubernetes) starts it again; leases bring the work
back. The pusher and the monitor do no work of ours, and the pusher ends whenever the
database was away: after such a death the work in hand is drained first.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from django.db import connections
from django_q.cluster import Cluster
from django_q.conf import Conf

from . import processes

logger = logging.getLogger(__name__)
GIVE_UP = 70
START_SECONDS = 30


class WorkerCluster:
    """One django-q2 cluster on one queue, with its processes watched from here.

    An empty queue is looked at each `poll` s.
    After `start()` call `check()` about once a second: it ends this process when
    work below is lost, and sets `crippled` to the reason when only `stop()` and a new
    start can mend the cluster. `stop()` drains.
    """

    def __init__(
        self, *, queue: str, workers: int, drain_seconds: float, poll: float
    ) -> None:
        self.drain_seconds = drain_seconds
        self.shutdown = False
        self.crippled = ""
        # Made before the fork, so that all processes share them.
        self.drain = multiprocessing.Event()
        self.progress = multiprocessing.Value("d", 0.0)
        Conf.CLUSTER_NAME = queue
        Conf.WORKERS = workers
        Conf.POLL = poll
        self._cluster: Cluster | None = None
        self._woken, self._wake = os.pipe()
        self._family: frozenset[int] = frozenset()
        self._workers: frozenset[int] = frozenset()

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self.shutdown = True
        # A pipe: whoever waits for a lock could hold it while its handler wants it.
        os.write(self._wake, b".")

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the signal to stop."""
        if select.select([self._woken], [], [], seconds)[0]:
            os.read(self._woken, 100)

    def start(self) -> None:
        """Fork the cluster; every process below dies with its parent."""
        os.register_at_fork(after_in_child=_child_of(os.getpid()))
        self._cluster = Cluster()
        # The stock handlers stop the cluster inside the handler, which can deadlock.
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._on_signal)
        connections.close_all()
        self._cluster.start()
        expected = Conf.WORKERS + 2
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._family = processes.children(self._cluster.sentinel.pid)
            if len(self._family) == expected:
                self._workers = frozenset(_eldest(self._family)[: Conf.WORKERS])
                return
            time.sleep(0.1)
        self.give_up("its processes did not come up")

    def check(self) -> None:
        """Give up when a process of the cluster has died, or the feeder stands still."""
        assert self._cluster is not None
        if not self._cluster.sentinel.is_alive():
            self.give_up("the cluster's sentinel died")
        family = processes.children(self._cluster.sentinel.pid)
        if not self._workers <= family:
            self.give_up("a worker of the cluster died")
        if family != self._family and not self.crippled:
            self.crippled = "the cluster's pusher or monitor died"
            logger.error("%s; the work in hand is finished first", self.crippled)
        progress = self.progress.value
        if progress and time.monotonic() - progress > 2 * START_SECONDS:
            self.give_up("the feeder stands still")

    def give_up(self, reason: str) -> None:
        """End this process at once; the kernel ends everything below it."""
        logger.critical("giving up: %s; a supervisor should start this again", reason)
        os._exit(GIVE_UP)

    def stop(self) -> None:
        """Let running tasks end within the drain limit, then end the cluster."""
        assert self._cluster is not None
        self.drain.set()
        limit = threading.Timer(
            self.drain_seconds + 20,
            self.give_up,
            ["the cluster did not stop in time"],
        )
        limit.daemon = True
        limit.start()
        if self.crippled:
            self._stop_workers()
        elif self._cluster.sentinel.is_alive():
            self._cluster.stop()
        limit.cancel()

    def _stop_workers(self) -> None:
        """Let the workers end; no more, as the others may wait for each other forever."""
        assert self._cluster is not None
        sentinel = self._cluster.sentinel
        self._cluster.stop_event.set()
        while sentinel.is_alive() and self._workers & processes.children(sentinel.pid):
            time.sleep(0.1)


def _eldest(pids: frozenset[int]) -> list[int]:
    """In the order in which they were started: the workers, the monitor, the pusher."""
    return sorted(pids, key=lambda pid: (processes.start_time(pid) or 0, pid))


def _child_of(main: int) -> Callable[[], None]:
    """What each forked process does first: die when its parent does."""
    parents = {"pid": main}

    def after_fork() -> None:
        parent, parents["pid"] = parents["pid"], os.getpid()
        processes.die_with_parent(signal.SIGKILL, parent)

    return after_fork
