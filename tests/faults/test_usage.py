# SPDX-License-Identifier: Apache-2.0
"""Control workers killed while they count what people used."""

from __future__ import annotations

import pytest

from tests.site import Site, wait_for

from .checks import EACH_KILL, kill_worker, seed

pytestmark = pytest.mark.slow
BATCHES = 1500


@pytest.mark.parametrize(("site", "whole"), EACH_KILL, indirect=["site"])
def test_each_batch_is_counted_once_however_often_workers_die(
    site: Site, whole: bool
) -> None:
    seed(site, "used_batches", count=BATCHES)

    def counted() -> int:
        sql = "SELECT COUNT(*) AS n FROM jobs_batch WHERE NOT usage_open"
        return int(site.query(sql)[0]["n"])

    for least in (1, BATCHES // 3):
        control = site.start("runworker")
        wait_for(
            lambda least=least: counted() >= least,  # type: ignore[misc]  # mypy does not see the default
            timeout=60,
            what=f"{least} counted batches",
        )
        kill_worker(control, whole=whole)
        # Rows and marks agree wherever it was cut.
        assert assert_counted(site) < BATCHES
    site.start("runworker")
    wait_for(lambda: counted() == BATCHES, timeout=120, what="the end of the count")
    assert assert_counted(site) == BATCHES


def assert_counted(site: Site) -> int:
    """Usage is the sum of the counters of the batches that are marked; how many."""
    (found,) = site.query(
        "SELECT COUNT(*) AS batches, u.* FROM jobs_batch, ("
        "SELECT SUM(answered) AS answered, SUM(failed) AS failed,"
        " SUM(input_tokens) AS given, SUM(output_tokens) AS made FROM jobs_usage) u"
        " WHERE NOT usage_open GROUP BY u.answered, u.failed, u.given, u.made"
    )
    batches = int(found["batches"])
    each = {"answered": 5, "failed": 2, "given": 11, "made": 13}
    assert {name: int(found[name]) for name in each} == {
        name: batches * value for name, value in each.items()
    }
    return batches
