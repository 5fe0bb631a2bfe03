# SPDX-License-Identifier: Apache-2.0
"""Clocks that jump by an hour while a batch runs.

With SQLite the database's clock is the host's, which jumps for all processes. With
PostgreSQL the workers' host is another one than the database's, and jumps alone.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine_journal import Reader
from tests.site import DATABASES, ROOT, Site, wait_for

from .checks import (
    assert_exactly_once,
    batch_row,
    seed,
    wait_until_final,
    wait_until_results,
)
from .keepers import ENGINE, NAMES, Keepers

pytestmark = pytest.mark.sweep
both = pytest.mark.parametrize("site", DATABASES, indirect=True)
SOURCE = Path(__file__).with_name("clock.c")
# Longer than a heartbeat's interval and the one before it.
SETTLED_SECONDS = 9
ALIVE = """
from jobs.obstacles import obstacle, read_site
site = read_site()
print(site.control_worker, [obstacle(engine) for engine in site.engines])
"""


class Clock:
    """The wall clock of the processes that have `env`; their monotonic one is real.

    Not by libfaketime, with whose real monotonic clock Python cannot sleep.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._file.write_bytes(bytes(8))
        library = folder / "clock.so"
        compiled = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE)]
        # Debian's packages are gcc and libc6-dev.
        subprocess.run([*compiled, "-ldl"], check=True)
        self.env = {"LD_PRELOAD": str(library), "JUMPING_CLOCK": str(self._file)}

    def jump(self, seconds: int) -> None:
        """Show so many seconds more than the real time, from now on."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds))


@both
def test_jumps_of_the_clock_steal_no_lease_and_repeat_nothing(
    site: Site, tmp_path: Path
) -> None:
    clock = Clock(tmp_path)
    jumping = ("control", "feeder") if site.database_url else NAMES
    journal = tmp_path / "journal"
    arguments = ("--journal", str(journal), "--max-num-seqs", "16")
    env = dict.fromkeys(jumping, clock.env)
    with Keepers(site, *arguments, env=env) as keepers:
        # Each batch begins by one clock and ends by the next one.
        made = []
        for hours in (1, -1, 0):
            made.append(seed(site, "batch", rows=600, delay=0.5))
            wait_until_results(site, made[-1], 60, timeout=90)
            clock.jump(hours * 3600)
            before = batch_row(site, made[-1])["result_seq"]
            time.sleep(SETTLED_SECONDS)
            assert batch_row(site, made[-1])["result_seq"] > before
            assert signs_of_life(site, clock) == "True ['']"
            wait_until_final(site, made[-1], timeout=150)
        for public_id in made:
            assert_exactly_once(site, public_id, 600)
        assert site.query("SELECT MAX(lease_epoch) AS top FROM jobs_chunk") == [
            {"top": 1}
        ]
        assert asked_again(journal, batches=3) == 0
        assert [kept.codes for kept in keepers.kept.values()] == [[], [], [], []]


@both
def test_a_worker_that_dies_after_its_clock_went_back_is_replaced(
    site: Site, tmp_path: Path
) -> None:
    clock = Clock(tmp_path)
    jumping = ("control", "feeder") if site.database_url else NAMES
    env = dict.fromkeys(jumping, clock.env)
    with Keepers(site, "--max-num-seqs", "16", env=env) as keepers:
        made = seed(site, "batch", rows=600, delay=0.5)
        wait_until_results(site, made, 50, timeout=90)
        clock.jump(-3600)
        time.sleep(SETTLED_SECONDS)
        for name in ("feeder", "control"):
            os.kill(keepers.kept[name].pid, signal.SIGKILL)
        before = batch_row(site, made)["result_seq"]
        # Not an hour later, when its leases end by the clock that went back.
        wait_for(
            lambda: batch_row(site, made)["result_seq"] > before + 30,
            timeout=60,
            what=f"work to go on; {keepers.state()} {site.engine(ENGINE)}",
        )
        wait_until_final(site, made, timeout=120)
        assert_exactly_once(site, made, 600)


def signs_of_life(site: Site, clock: Clock) -> str:
    """Whether a control worker lives, and what is wrong with the engine.

    Whoever looks at SQLite brings the database's clock along.
    """
    env = {} if site.database_url else clock.env
    printed = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "shell", "--no-imports", "-c", ALIVE],
        env=site.env(**env),
        capture_output=True,
        text=True,
        check=True,
    )
    return printed.stdout.strip()


def asked_again(journal: Path, *, batches: int) -> int:
    """How many requests the engine got more than once for each batch."""
    reader = Reader(journal)
    reader.read()
    return sum(
        sum(entry.what == "asked" for entry in entries) > batches
        for entries in reader.entries.values()
    )
