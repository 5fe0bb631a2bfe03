# SPDX-License-Identifier: Apache-2.0
"""Linux processes: who a process is, whether it still lives, and how none is left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def boot_id() -> str:
    """Changes with each boot of this machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat_fields(pid: int) -> list[str] | None:
    """/proc/PID/stat from the state (field 3) on; None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself hold spaces and parentheses.
    return text.rpartition(")")[2].split()


def start_time(pid: int) -> int | None:
    """Start of the process in clock ticks since boot; None when it is gone or a zombie."""
    fields = _stat_fields(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def pid_namespace() -> str:
    """The number of the PID namespace in which this process' pids are meant."""
    return str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")


class Token(NamedTuple):
    """One process among all hosts, containers and times."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str


def token(pid: int | None = None) -> str:
    """host/boot id/PID namespace/pid/start time of a process of this namespace."""
    pid = pid or os.getpid()
    parts = (socket.gethostname(), boot_id(), pid_namespace(), pid, start_time(pid))
    return "/".join(map(str, parts))


def read_token(owner: str) -> Token | None:
    """The parts of what `token` made; None for anything else."""
    try:
        host, boot, namespace, pid, started = owner.rsplit("/", 4)
        return Token(host, boot, namespace, int(pid), started)
    except ValueError:
        return None


def provably_gone(owner: str) -> bool:
    """Whether the process of that token cannot be alive any more, as seen from here.

    False for a process of another host or PID namespace (containers on the host's
    network share its name): only its missing heartbeat can tell.
    """
    named = read_token(owner)
    if named is None or named.host != socket.gethostname():
        return False
    if named.namespace != pid_namespace():
        return False
    return named.boot != boot_id() or str(start_time(named.pid)) != named.started


def die_with_parent(signum: int, parent: int) -> None:
    """Have the kernel send `signum` to this process when `parent` dies.

    Exits at once when the parent died before the request took effect.
    """
    if _libc.prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(70)


def child_setup(signum: int) -> Callable[[], None]:
    """A preexec_fn for Popen: the child gets `signum` when this process dies."""
    parent = os.getpid()
    return lambda: die_with_parent(signum, parent)


def become_subreaper() -> None:
    """Adopt orphaned grandchildren, so that this process can wait for them."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children(pid: int) -> frozenset[int]:
    """Pids of the direct, living children of a process."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found.update(int(child) for child in task.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return frozenset(child for child in found if start_time(child) is not None)


def sessions_below(pid: int) -> frozenset[int]:
    """Sessions of all living descendants of a process; not its own."""
    found: set[int] = set()
    own = _session_of(pid)
    for child in children(pid):
        found |= {_session_of(child)} | sessions_below(child)
    return frozenset(found - {own, 0})


def _session_of(pid: int) -> int:
    """The session of a process; 0 when there is no such process."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def session_members(session: int) -> list[int]:
    """Pids of the living processes of a session."""
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        fields = _stat_fields(int(entry.name))
        if fields and fields[0] not in "ZX" and int(fields[3]) == session:
            members.append(int(entry.name))
    return members


def kill_session(session: int, *, timeout: float = 10) -> bool:
    """SIGKILL every process of a session and wait; True when none is left."""
    deadline = time.monotonic() + timeout
    while members := session_members(session):
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
