# SPDX-License-Identifier: Apache-2.0
"""Each process of a site stopped and started again in turn, as for an upgrade."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.models import Engine
from tests.engine_journal import Reader
from tests.site import DATABASES, Site, wait_for

from .checks import assert_exactly_once, seed, wait_until_final, wait_until_results
from .keepers import ENGINE, Keepers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("site", DATABASES, indirect=True),
]
ROWS = 1500


def restart(keepers: Keepers, name: str) -> None:
    """SIGTERM; it ends with 0 and is up again."""
    kept = keepers.kept[name]
    process = kept.process
    assert process is not None
    # What is in flight may end first.
    assert process.stop(timeout=60) == 0, process.log()
    wait_for(
        lambda: kept.process is not process and keepers.whole(),
        timeout=60,
        what=f"{name} to be back: {keepers.state()}",
    )


def test_a_rolling_restart_loses_nothing_and_redoes_nothing(
    site: Site, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    arguments = ("--journal", str(journal), "--max-num-seqs", "16")
    with Keepers(site, *arguments) as keepers:
        made = seed(site, "batch", rows=ROWS, delay=0.5)
        done = 0
        for name in ("feeder", "control", "web", "feeder"):
            wait_until_results(site, made, done := done + 60, timeout=90)
            restart(keepers, name)
        # An engine's host takes its engine with it: that one is emptied before.
        site.run("pauseengine", ENGINE, "--drain")
        wait_for(
            lambda: site.engine(ENGINE)["state"] == Engine.State.STOPPED,
            timeout=60,
            what=f"the engine to be drained: {site.engine(ENGINE)}",
        )
        restart(keepers, "host")
        site.run("resumeengine", ENGINE)
        wait_until_final(site, made, timeout=180)
        assert_exactly_once(site, made, ROWS)
    reader = Reader(journal)
    reader.read()
    assert reader.times_asked() == [1] * ROWS
