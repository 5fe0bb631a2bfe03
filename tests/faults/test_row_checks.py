# SPDX-License-Identifier: Apache-2.0
"""Control workers killed while they put answers to their checks."""

from __future__ import annotations

import pytest

from tests.site import Site, wait_for

from .checks import EACH_KILL, batch_row, kill_worker, seed

pytestmark = pytest.mark.slow
ROWS = 20_000


@pytest.mark.parametrize(("site", "whole"), EACH_KILL, indirect=["site"])
def test_each_result_is_checked_once_however_often_workers_die(
    site: Site, whole: bool
) -> None:
    made = seed(site, "checked_batch", rows=ROWS)
    key = batch_row(site, made)["id"]

    def checked() -> int:
        sql = "SELECT MIN(checked_seq) AS n FROM jobs_rowcheck WHERE batch_id = %s"
        return int(site.query(sql, key)[0]["n"])

    for least in (1, ROWS // 3):
        control = site.start("runworker")
        wait_for(
            lambda least=least: checked() >= least,  # type: ignore[misc]  # mypy does not see the default
            timeout=60,
            what=f"{least} checked results",
        )
        kill_worker(control, whole=whole)
        assert checked() < ROWS
        # cursors, counters and outcomes agree wherever it was cut
        assert_counted(site, key, checked())
    site.start("runworker")
    wait_for(lambda: checked() == ROWS, timeout=120, what="the end of the checks")
    assert_counted(site, key, ROWS)
    wait_for(
        lambda: site.query("SELECT done FROM jobs_checkrun")[0]["done"],
        what="the run to be done",
    )


def assert_counted(site: Site, key: int, rows: int) -> None:
    """One outcome for each of the first results, and counters that are their sums."""
    (found,) = site.query(
        "SELECT COUNT(*) AS n, COUNT(DISTINCT result_id) AS results,"
        " SUM(CASE WHEN letters = 'pf' THEN 1 ELSE 0 END) AS good,"
        " SUM(CASE WHEN letters = 'nn' THEN 1 ELSE 0 END) AS refused,"
        " SUM(failed) AS failed FROM jobs_rowoutcome WHERE batch_id = %s",
        key,
    )
    assert found["n"] == found["results"] == rows
    assert found["good"] == found["failed"] == rows - rows // 10
    assert found["refused"] == rows // 10
    for check in site.query("SELECT * FROM jobs_rowcheck WHERE batch_id = %s", key):
        good, column = rows - rows // 10, "passed"
        if check["name"] == "valid":
            column = "failed"
        assert check[column] == good
        assert check["not_applicable"] == rows // 10
        assert check["passed"] + check["failed"] == good
        assert check["errors"] == 0
