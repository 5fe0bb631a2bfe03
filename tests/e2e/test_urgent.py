# SPDX-License-Identifier: Apache-2.0
"""Urgent batches beside a large one, over real workers and the test engine."""

from __future__ import annotations

import pytest

from tests.faults.checks import seed, wait_until_final, wait_until_results
from tests.site import Site

pytestmark = pytest.mark.slow


def test_urgent_rows_get_the_next_places_beside_a_large_batch(
    site: Site, test_engine: str
) -> None:
    seed(site, "external_engine", url=test_engine, window=8)
    site.start("runworker").expect("Control worker is ready.")
    site.start("runworker", "--engine", "ext").expect("Worker of engine ext is ready.")
    # Short answers make large chunks: one of 256 rows waits in the feeder.
    large = seed(site, "batch", rows=400, delay=0.5, max_tokens=1)
    wait_until_results(site, large, 8)
    urgent = [seed(site, "batch", rows=1, priority=100) for _ in range(3)]
    rows = [wait_until_final(site, one) for one in urgent]
    wait_until_final(site, large)
    for row in rows:
        # Counted in requests, so that a slow machine changes nothing: a window's worth
        # ends before its turn, another one beside it, and the rest is for a late look.
        (passed,) = site.query(
            "SELECT COUNT(*) AS n FROM jobs_result r JOIN jobs_batch b"
            " ON r.batch_id = b.id WHERE b.public_id = %s AND r.created_at > %s"
            " AND r.created_at < (SELECT created_at FROM jobs_result"
            " WHERE batch_id = %s)",
            large,
            row["in_progress_at"],
            row["id"],
        )
        assert passed["n"] <= 80
