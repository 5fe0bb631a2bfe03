# SPDX-License-Identifier: Apache-2.0
"""Control workers killed while they count what people used."""

from __future__ import annotations

import os
import signal

import pytest

from tests.site import DATABASES, Site, wait_for

from .checks import seed
from .test_control_worker import busy_child

pytestmark = pytest.mark.slow
BATCHES = 1500


@pytest.mark.parametrize("site", DATABASES, indirect=True)
@pytest.mark.parametrize("whole", [True, False])
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
        os.kill(control.pid if whole else busy_child(control), signal.SIGKILL)
        control.popen.wait(15)
        assert counted() < BATCHES
        # Rows and marks agree wherever it was cut.
        assert_counted(site, counted())
    site.start("runworker")
    wait_for(lambda: counted() == BATCHES, timeout=120, what="the end of the count")
    assert_counted(site, BATCHES)


def assert_counted(site: Site, batches: int) -> None:
    """Usage is the sum of the counters of as many batches."""
    (found,) = site.query(
        "SELECT SUM(answered) AS answered, SUM(failed) AS failed,"
        " SUM(input_tokens) AS given, SUM(output_tokens) AS made FROM jobs_usage"
    )
    assert [int(found[name] or 0) for name in ("answered", "failed")] == [
        *(5 * batches, 2 * batches)
    ]
    assert [int(found[name] or 0) for name in ("given", "made")] == [
        *(11 * batches, 13 * batches)
    ]
