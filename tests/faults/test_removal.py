# SPDX-License-Identifier: Apache-2.0
"""Control workers killed while they remove a deleted batch."""

from __future__ import annotations

import pytest

from tests.site import Site, wait_for

from .checks import EACH_KILL, kill_worker, seed

pytestmark = pytest.mark.slow
ROWS = 20_000


@pytest.mark.parametrize(("site", "whole"), EACH_KILL, indirect=["site"])
def test_nothing_is_left_however_often_workers_die(site: Site, whole: bool) -> None:
    seed(site, "deleted_batch", rows=ROWS)

    def left(kind: str = "batchrequest") -> int:
        return int(site.query(f"SELECT COUNT(*) AS n FROM jobs_{kind}")[0]["n"])

    for most in (ROWS - 1, ROWS // 2):
        control = site.start("runworker")
        wait_for(
            lambda most=most: left() <= most,  # type: ignore[misc]  # mypy does not see the default
            timeout=60,
            what=f"{most} requests to be left",
        )
        kill_worker(control, whole=whole)
        # A request goes with its answer, and the batch goes last.
        (found,) = site.query(
            "SELECT (SELECT COUNT(*) FROM jobs_batch) AS batches,"
            " (SELECT COUNT(*) FROM jobs_batchrequest) AS asked,"
            " (SELECT COUNT(*) FROM jobs_result) AS answered"
        )
        assert found["asked"] == found["answered"] > 0
        assert found["batches"] == 1
    site.start("runworker")
    wait_for(lambda: left("batch") == 0, timeout=120, what="the batch to be gone")
    kinds = ("batchrequest", "result", "chunk", "batchevent", "usagemark")
    assert {kind: left(kind) for kind in kinds} == dict.fromkeys(kinds, 0)
