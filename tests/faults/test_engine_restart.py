# SPDX-License-Identifier: Apache-2.0
"""An engine that people restart under load: nothing in flight is lost or blamed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from jobs.models import Engine
from tests.engine_journal import Reader
from tests.site import DATABASES, Site, wait_for

from .checks import assert_exactly_once, seed, wait_until_final, wait_until_results

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("site", DATABASES, indirect=True),
]
ROWS = 300


def is_ready(site: Site, generation: int) -> bool:
    """Whether that start of the engine serves."""
    engine = site.engine("gpu0")
    return (engine["generation"], engine["state"]) == (generation, Engine.State.READY)


@pytest.mark.parametrize("limit", ["60", "0"])
def test_a_restart_under_load_loses_nothing(
    site: Site, tmp_path: Path, limit: str
) -> None:
    """With time for what is in flight, and with none: then it runs again."""
    journal = tmp_path / "journal"
    arguments = f"--max-num-seqs 8 --journal {journal}"
    site.run("addmodel", "tiny", "--source", "org/tiny", "--engine-args", arguments)
    env = {"BATCHSITE_DRAIN_SECONDS": limit}
    site.start("runengine", "--name", "gpu0", **env).expect("runs")
    site.start("runworker", **env).expect("Control worker is ready.")
    site.start("runworker", "--engine", "gpu0", **env).expect("is ready")
    made = seed(site, "batch", rows=ROWS, delay=0.3)
    done = 0
    for generation in (2, 3):
        wait_until_results(site, made, done := done + 40, timeout=90)
        site.run("restartengine", "gpu0", "--reason", "a new driver")
        wait_for(
            partial(is_ready, site, generation),
            timeout=60,
            what=f"start no. {generation}: {site.engine('gpu0')}",
        )
    wait_until_final(site, made, timeout=180)
    row = assert_exactly_once(site, made, ROWS)
    assert (row["completed"], row["failed"]) == (ROWS, 0)
    # Each was asked for once, and nobody is under suspicion for it.
    assert site.engine("gpu0")["generation"] == 3
    assert site.engine("gpu0")["incident_deaths"] == 0
    assert not site.query("SELECT id FROM jobs_suspect")
    if limit != "0":
        reader = Reader(journal)
        reader.read()
        assert reader.times_asked() == [1] * ROWS
