# SPDX-License-Identifier: Apache-2.0
"""What must hold of a batch however often its processes were killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from jobs.processes import children, start_time
from tests.site import DATABASES, ROOT, Process, Site, wait_for

# Whether all of a worker is killed or its child at work: each on one of the databases,
# where both are tried on both by tests/faults/test_control_worker.py.
EACH_KILL = [
    pytest.param(name, whole, id=f"{name}-{'whole' if whole else 'child'}")
    for name, whole in (("sqlite", True), ("postgres", False))
    if name in DATABASES
]
FINAL = ("completed", "failed", "expired", "cancelled")


def seed(site: Site, call: str, **arguments: Any) -> str:
    """Run one function of tests/seed.py inside the site; what it returned."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.seed", call, json.dumps(arguments)],
        cwd=ROOT,
        env=site.env(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def batch_row(site: Site, public_id: str) -> dict[str, Any]:
    (row,) = site.query("SELECT * FROM jobs_batch WHERE public_id = %s", public_id)
    return row


def wait_until_results(
    site: Site, public_id: str, least: int, *, timeout: float = 30
) -> None:
    """Wait until the batch has at least that many results."""
    wait_for(
        lambda: batch_row(site, public_id)["result_seq"] >= least,
        timeout=timeout,
        what=f"{least} results",
    )


def wait_until_final(
    site: Site, public_id: str, *, timeout: float = 60
) -> dict[str, Any]:
    """Wait for a final status; the row."""
    wait_for(
        lambda: batch_row(site, public_id)["status"] in FINAL,
        timeout=timeout,
        what=f"the end of the batch, now {batch_row(site, public_id)}",
    )
    return batch_row(site, public_id)


def custom_ids(site: Site, row: dict[str, Any]) -> Counter[str]:
    """How often each custom_id stands in the output and error files together."""
    found: Counter[str] = Counter()
    for column in ("output_file_id", "error_file_id"):
        if row[column] is None:
            continue
        (file,) = site.query(
            "SELECT storage_name, bytes FROM jobs_batchfile WHERE id = %s", row[column]
        )
        content = (site.folder / "files" / file["storage_name"]).read_bytes()
        assert len(content) == file["bytes"]
        found.update(json.loads(line)["custom_id"] for line in content.splitlines())
    return found


def assert_exactly_once(site: Site, public_id: str, rows: int) -> dict[str, Any]:
    """Every custom_id once over both files, counters equal to rows, nothing stuck."""
    row = batch_row(site, public_id)
    assert row["status"] == "completed", row
    assert custom_ids(site, row) == {f"r{n}": 1 for n in range(rows)}
    (counted,) = site.query(
        "SELECT COUNT(*) AS n, MAX(seq) AS top, SUM(output_tokens) AS tokens"
        " FROM jobs_result WHERE batch_id = %s",
        row["id"],
    )
    assert counted["n"] == counted["top"] == row["result_seq"] == rows
    assert row["completed"] + row["failed"] == row["total"] == rows
    assert counted["tokens"] == row["output_tokens"]
    (left,) = site.query(
        "SELECT COUNT(*) AS n FROM jobs_chunk WHERE batch_id = %s AND state <> 'done'",
        row["id"],
    )
    assert left["n"] == 0
    assert (row["stage_owner"], row["stage_lease_expires_at"]) == ("", None)
    return row


def family(process: Process) -> list[int]:
    """The sentinel of a worker and the sentinel's children."""
    (sentinel,) = children(process.pid)
    return [sentinel, *sorted(children(sentinel))]


def elders(process: Process) -> list[int]:
    """The sentinel's children as they were started: workers, monitor, pusher."""
    return sorted(family(process)[1:], key=lambda pid: (start_time(pid) or 0, pid))


def kill_worker(process: Process, *, whole: bool) -> None:
    """kill -9 of a worker's main process or of its child at work; all of it is gone.

    Until then its children may write: what is asked of the database in several
    statements would not agree.
    """
    members = family(process)
    os.kill(process.pid if whole else max(members[1:], key=_ticks), signal.SIGKILL)
    process.wait()
    wait_for(
        lambda: all(start_time(pid) is None for pid in members),
        what="the end of the worker's processes",
    )


def _ticks(pid: int) -> int:
    """The CPU time a process used, in the kernel's ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
