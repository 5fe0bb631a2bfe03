# SPDX-License-Identifier: Apache-2.0
"""One engine process and its session: started, recorded, watched, and gone for sure.

Nothing here knows the database. An engine's worker processes outlive a killed API
server, so that what counts is the session, not the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jobs import processes

SOCKET_PATH_LIMIT = 100
LOGS_KEPT = 5
TAIL_BYTES = 32_000


def socket_path(run_dir: Path, name: str, generation: int) -> Path:
    """Where that generation listens.

    A Unix socket's path is limited to 107 bytes: where the data folder is too deep,
    a private folder under the system's temporary one stands in.
    """
    path = run_dir / f"{name}-{generation}.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    mark = hashlib.sha256(os.fsencode(run_dir)).hexdigest()[:10]
    folder = Path(tempfile.gettempdir()) / f"batchsite-{os.getuid()}-{mark}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise PermissionError(f"{folder} is not a private folder of this user.")
    return folder / path.name


def rotated_log(path: Path) -> Path:
    """Move the logs of earlier starts one further and return the path of a new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in range(LOGS_KEPT - 1, -1, -1):
        older = path.with_suffix(f".log.{number + 1}")
        newer = path.with_suffix(f".log.{number}") if number else path
        if newer.exists():
            newer.replace(older)
    return path


def tail(path: Path) -> str:
    """The end of a log file; "" when there is none."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - TAIL_BYTES))
            return log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


@dataclass(slots=True)
class Record:
    """Which processes are an engine's, kept on disk for the host that comes after."""

    pid: int
    start_time: int
    session: int
    generation: int
    boot_id: str
    socket: str
    log: str

    def is_ours(self) -> bool:
        """Whether the session of that number still is the one recorded.

        Numbers are reused. Proof is the leader with its start time, or a process that
        writes into the engine's log.
        """
        if self.boot_id != processes.boot_id():
            return False
        started = processes.start_time(self.pid)
        if started is not None:
            return started == self.start_time
        return any(
            _writes_into(pid, self.log)
            for pid in processes.session_members(self.session)
        )

    def write(self, path: Path) -> None:
        """Save it; a reader sees the old or the new one, never a half."""
        draft = path.with_suffix(".draft")
        try:
            draft.write_text(json.dumps(asdict(self)))
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise


def _writes_into(pid: int, log: str) -> bool:
    """Whether a process' output goes to that log, which may be rotated by now."""
    for descriptor in (1, 2):
        try:
            if str(Path(f"/proc/{pid}/fd/{descriptor}").readlink()).startswith(log):
                return True
        except OSError:
            continue
    return False


def read_record(path: Path) -> Record | None:
    """The record of the last start; None when there is none or it is unreadable."""
    try:
        return Record(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def record_path(folder: Path, name: str, generation: int) -> Path:
    """Where that start of the engine is on record.

    A file for each: a host that was paused, and whose engine another host runs by now,
    must neither take that one's record away nor act on it.
    """
    return folder / f"{name}-{generation}.json"


def record_paths(folder: Path, name: str) -> dict[int, Path]:
    """The records of that engine by generation."""
    named = re.compile(rf"{re.escape(name)}-(\d+)\.json")
    found = ((named.fullmatch(path.name), path) for path in folder.glob("*.json"))
    return {int(match[1]): path for match, path in found if match}


def clear_records(folder: Path, name: str, *, newest: int, timeout: float = 10) -> bool:
    """Kill what is left of the engine's starts up to that generation; True: nothing."""
    paths = record_paths(folder, name)
    return all(
        clear_record(path, timeout=timeout)
        for generation, path in paths.items()
        if generation <= newest
    )


def clear_record(path: Path, *, timeout: float = 10) -> bool:
    """Kill what is left of the recorded session; True when nothing is.

    Leaves a session alone that merely has the same number.
    """
    record = read_record(path)
    if record is None:
        path.unlink(missing_ok=True)
        return True
    if record.is_ours() and not processes.kill_session(record.session, timeout=timeout):
        return False
    Path(record.socket).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    return True


class Child:
    """A started engine: the leader of a session of its own."""

    def __init__(
        self,
        *,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        log: Path,
        socket: Path,
        generation: int,
        record: Path,
    ) -> None:
        """Start it; OSError when the program cannot be run, or not be put on record.

        It gets SIGTERM when this process dies, and is on record before this returns.
        """
        self.socket = socket
        self.generation = generation
        self.log = log
        self.started = time.monotonic()
        self._record_path = record
        socket.unlink(missing_ok=True)
        with log.open("wb") as out:
            self._popen = subprocess.Popen(
                command,
                env=dict(env),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=processes.child_setup(signal.SIGTERM),
            )
        self.pid = self._popen.pid
        self._ended_with: int | None = None
        self._record = Record(
            pid=self.pid,
            start_time=processes.start_time(self.pid) or 0,
            session=self.pid,
            generation=generation,
            boot_id=processes.boot_id(),
            socket=str(socket),
            log=str(log.resolve()),
        )
        try:
            self._record.write(record)
        except OSError:
            # Nobody would find what it leaves behind, and another start may follow.
            self.clear(timeout=10)
            raise

    def ended(self) -> bool:
        """Whether the API server has ended; other processes of its session may live.

        Its exit code is left uncollected: until clear(), no other process can get its
        pid, which is the session's number.
        """
        if self._popen.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        found = os.waitid(os.P_PID, self.pid, flags)
        if found is not None:
            by_code = found.si_code == os.CLD_EXITED
            self._ended_with = found.si_status if by_code else -found.si_status
        return found is not None

    def terminate(self) -> None:
        """Ask the API server to end."""
        if not self.ended():
            self._popen.terminate()

    def clear(self, *, timeout: float = 1) -> bool:
        """Kill the whole session; True when nothing of it is left."""
        if not processes.kill_session(self._record.session, timeout=timeout):
            return False
        self.collect_orphans()
        self._popen.wait()
        self.socket.unlink(missing_ok=True)
        self._record_path.unlink(missing_ok=True)
        return True

    def collect_orphans(self) -> None:
        """Collect the session's processes that ended and were adopted by this one."""
        for entry in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
            for pid in map(int, entry.read_text().split()):
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    if pid != self.pid and os.getsid(pid) == self._record.session:
                        os.waitpid(pid, os.WNOHANG)

    def why(self) -> str:
        """How it ended: "ended with code 1", "was killed by SIGKILL"."""
        code = self._popen.returncode
        if code is None and self.ended():
            code = self._ended_with
        if code is None:
            return "still runs"
        if code >= 0:
            return f"ended with code {code}"
        return f"was killed by {signal.Signals(-code).name}"
