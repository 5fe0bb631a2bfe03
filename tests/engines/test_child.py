# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import processes
from jobs.engines import child
from jobs.engines.child import Child, Record
from tests.site import wait_for

# Starts another process in its session, then waits.
PARENT = (
    "import subprocess, time;"
    "p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); time.sleep(600)"
)


def start(folder: Path, code: str = PARENT) -> Child:
    return Child(
        command=[sys.executable, "-c", code],
        env=dict(os.environ),
        folder=folder,
        log=folder / "gpu0.log",
        socket=folder / "gpu0-1.sock",
        generation=1,
        record=folder / "gpu0-1.json",
    )


def members(started: Child, count: int) -> list[int]:
    """Wait until the session has so many processes."""

    def look() -> list[int]:
        found = processes.session_members(started.pid)
        return found if len(found) == count else []

    return wait_for(look, timeout=10)


def test_start_is_on_record_and_clear_leaves_nothing(tmp_path: Path) -> None:
    started = start(tmp_path)
    record = child.read_record(tmp_path / "gpu0-1.json")
    assert record is not None
    assert (record.pid, record.session, record.generation) == (started.pid,) * 2 + (1,)
    assert record.start_time == processes.start_time(started.pid)
    members(started, 2)
    assert not started.ended()
    assert started.clear(timeout=5)
    assert processes.session_members(started.pid) == []
    assert started.why() == "was killed by SIGKILL"
    assert child.read_record(tmp_path / "gpu0-1.json") is None


def test_child_that_outlives_a_killed_leader_is_found_by_the_record(
    tmp_path: Path,
) -> None:
    started = start(tmp_path)
    orphan = max(members(started, 2))
    os.kill(started.pid, 9)
    wait_for(started.ended)
    # Even under the name that the log has after further starts.
    child.rotated_log(tmp_path / "gpu0.log")
    assert child.clear_record(tmp_path / "gpu0-1.json")
    assert processes.start_time(orphan) is None
    assert started.clear(timeout=5)


def test_session_that_only_has_the_same_number_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        record = Record(
            pid=other.pid,
            start_time=(processes.start_time(other.pid) or 0) - 1,
            session=other.pid,
            generation=3,
            boot_id=processes.boot_id(),
            socket=str(tmp_path / "gpu0-3.sock"),
            log=str(tmp_path / "gpu0.log"),
        )
        record.write(tmp_path / "gpu0-1.json")
        assert child.clear_record(tmp_path / "gpu0-1.json")
        assert other.poll() is None
        # A record of another boot tells nothing about this one.
        record.start_time = processes.start_time(other.pid) or 0
        record.boot_id = "earlier"
        assert not record.is_ours()
        other.kill()


def test_unreadable_record_is_none(tmp_path: Path) -> None:
    path = tmp_path / "gpu0-1.json"
    assert child.read_record(path) is None
    path.write_text('{"pid": 1')
    assert child.read_record(path) is None
    path.write_text('{"other": 1}')
    assert child.read_record(path) is None
    assert child.clear_record(path)


def test_records_of_later_starts_and_of_other_engines_are_left_alone(
    tmp_path: Path,
) -> None:
    started = start(tmp_path)
    mine = tmp_path / "gpu0-1.json"
    others = [tmp_path / "gpu0-2.json", tmp_path / "gpu0-1-1.json"]
    for path in others:
        path.write_text(mine.read_text())
    assert child.record_paths(tmp_path, "gpu0") == {1: mine, 2: others[0]}
    assert child.clear_records(tmp_path, "gpu0", newest=0)
    assert not started.ended()
    assert child.clear_records(tmp_path, "gpu0", newest=1)
    assert started.ended()
    assert [mine.exists(), *(path.exists() for path in others)] == [False, True, True]
    started.clear()


def test_engine_that_cannot_be_put_on_record_does_not_stay(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import os; open({str(pid)!r}, 'w').write(str(os.getpid())); {PARENT}"
    wait = f"import time, pathlib; time.sleep(1); {code}"
    # A folder in the way of the file: as on a full disk, it cannot be written.
    (tmp_path / "gpu0-1.draft").mkdir()
    with pytest.raises(OSError, match=r"gpu0-1\.draft"):
        start(tmp_path, wait)
    time.sleep(1.5)
    assert not pid.exists()


def test_exit_code_is_told(tmp_path: Path) -> None:
    started = start(tmp_path, "raise SystemExit(3)")
    wait_for(started.ended)
    assert started.why() == "ended with code 3"
    # Not collected yet, so its pid stays taken.
    assert Path(f"/proc/{started.pid}").exists()
    assert started.clear()
    assert started.why() == "ended with code 3"


def test_terminate_asks_the_leader_alone(tmp_path: Path) -> None:
    started = start(tmp_path)
    members(started, 2)
    started.terminate()
    wait_for(started.ended)
    assert len(processes.session_members(started.pid)) == 1
    assert started.clear(timeout=5)


def test_program_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Child(
            command=["/no/such/python"],
            env={},
            folder=tmp_path,
            log=tmp_path / "gpu0.log",
            socket=tmp_path / "gpu0-1.sock",
            generation=1,
            record=tmp_path / "gpu0-1.json",
        )


def test_five_logs_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "gpu0.log"
    for number in range(8):
        child.rotated_log(path).write_text(f"start {number}")
    kept = sorted(p.name for p in path.parent.iterdir())
    assert kept == ["gpu0.log", *(f"gpu0.log.{n}" for n in range(1, 6))]
    assert (path.parent / "gpu0.log.5").read_text() == "start 2"


def test_tail_is_the_end_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "gpu0.log"
    assert child.tail(path) == ""
    path.write_bytes(b"x" * 100_000 + b"\xff end")
    assert child.tail(path).endswith("end")
    assert len(child.tail(path)) <= child.TAIL_BYTES


def test_socket_of_a_deep_data_folder_is_in_a_private_short_one(tmp_path: Path) -> None:
    short = child.socket_path(Path("/srv/run"), "gpu0", 17)
    assert short == Path("/srv/run/gpu0-17.sock")
    deep = child.socket_path(tmp_path / ("d" * 100), "gpu0", 17)
    assert len(os.fsencode(deep)) <= child.SOCKET_PATH_LIMIT
    assert deep.parent.stat().st_mode & 0o777 == 0o700
    # The same data folder gets the same place, another one another.
    assert child.socket_path(tmp_path / ("d" * 100), "gpu0", 18).parent == deep.parent
    assert child.socket_path(tmp_path / ("e" * 100), "gpu0", 17).parent != deep.parent
    deep.parent.chmod(0o755)
    with pytest.raises(PermissionError):
        child.socket_path(tmp_path / ("d" * 100), "gpu0", 17)
    for folder in Path(deep.parent.parent).glob(f"{deep.parent.name[:-10]}*"):
        if time.time() - folder.stat().st_mtime < 60 and not any(folder.iterdir()):
            folder.rmdir()
