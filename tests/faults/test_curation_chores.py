# SPDX-License-Identifier: Apache-2.0
"""Control workers killed while they feed a queue, and while they build a dataset."""

from __future__ import annotations

import pytest

from tests.site import Site, wait_for

from .checks import EACH_KILL, kill_worker, seed

pytestmark = pytest.mark.slow
ROWS = 6000
# Every tenth of them failed.
GOOD = ROWS - ROWS // 10


@pytest.mark.parametrize(("site", "whole"), EACH_KILL, indirect=["site"])
def test_each_answer_is_fed_once_and_a_dataset_is_built_once(
    site: Site, whole: bool
) -> None:
    queue, dataset = seed(site, "fed_queue", rows=ROWS).split()

    def count(table: str) -> int:
        return int(site.query(f"SELECT COUNT(*) AS n FROM curation_{table}")[0]["n"])

    for least in (1, ROWS // 3):
        control = site.start("runworker")
        wait_for(
            lambda least=least: count("reviewitem") >= least,  # type: ignore[misc]  # mypy does not see the default
            timeout=90,
            what=f"{least} items",
        )
        kill_worker(control, whole=whole)
        # Nobody waits for the lease of a dead one here.
        site.query("UPDATE curation_feed SET taken_until = NULL")
    control = site.start("runworker")
    wait_for(
        lambda: site.query("SELECT state FROM curation_feed")[0]["state"] == "done",
        timeout=120,
        what="the feed's end",
    )
    assert count("reviewitem") == count("itemversion") == count("candidate") == GOOD

    seed(site, "ask_dataset", queue=int(queue), dataset=int(dataset))
    wait_for(
        lambda: site.query("SELECT tries FROM curation_datasetbuild")[0]["tries"] == 1,
        timeout=90,
        what="the build's beginning",
    )
    kill_worker(control, whole=whole)
    site.query("UPDATE curation_datasetbuild SET taken_until = NULL")
    site.start("runworker")
    wait_for(lambda: count("datasetversion") > 0, timeout=120, what="the version")
    (version,) = site.query('SELECT number, "rows" FROM curation_datasetversion')
    assert (version["number"], version["rows"]) == (1, GOOD)
    (build,) = site.query("SELECT state FROM curation_datasetbuild")
    assert build["state"] == "done"
    files = site.query("SELECT id FROM jobs_batchfile WHERE purpose = 'fine-tune'")
    assert len(files) == 1
