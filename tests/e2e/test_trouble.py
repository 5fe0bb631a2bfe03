# SPDX-License-Identifier: Apache-2.0
"""Engines that are full, and rows that are slow, over real workers."""

from __future__ import annotations

import sys

import pytest

from tests.engine_process import counts, engine_process
from tests.faults.checks import assert_exactly_once, seed, wait_until_final
from tests.site import DATABASES, Site, wait_for

from .test_urgent import moment, start_workers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("site", DATABASES, indirect=True),
]


def test_an_engine_that_refuses_more_than_it_takes_fails_no_row(site: Site) -> None:
    with engine_process("--most-running", "8") as (url, _):
        start_workers(site, url, window=64)
        made = seed(site, "batch", rows=1500, delay=0.1, max_tokens=1)
        running: list[int] = []

        def is_done() -> bool:
            running.append(counts(url)["running"])
            row = site.query("SELECT status FROM jobs_batch WHERE public_id = %s", made)
            return bool(row[0]["status"] == "completed")

        wait_for(is_done, timeout=120, what="the batch to complete")
        row = assert_exactly_once(site, made, 1500)
        assert row["failed"] == 0
        busy = running[running.index(8) :]
        middle = busy[len(busy) // 4 : -len(busy) // 4]
        # It stays near what the engine takes, and does not fall to one.
        assert sum(middle) / len(middle) >= 4
        assert counts(url)["refused"] < 1500 / 4


def test_slow_rows_take_their_places_and_no_others(
    site: Site, test_engine: str
) -> None:
    start_workers(site, test_engine, window=64)
    rows, every = 3000, 100
    alone = seed(site, "batch", rows=rows, delay=0.02)
    wait_until_final(site, alone)
    mixed = seed(site, "batch", rows=rows, delay=0.02, slow_every=every, slow=20)
    row = wait_until_final(site, mixed, timeout=120)
    assert_exactly_once(site, mixed, rows)
    quick = rows - rows // every
    # Results are numbered as they come: all quick rows are before the slow ones, though
    # each chunk has one of these.
    (late,) = site.query(
        "SELECT COUNT(*) AS n FROM jobs_result WHERE batch_id = %s AND seq > %s"
        " AND latency_ms < 20000",
        row["id"],
        quick,
    )
    assert late["n"] == 0
    for name, batch in (("alone", alone), ("beside slow rows", mixed)):
        (took,) = site.query(
            "SELECT MIN(r.created_at) AS first, MAX(r.created_at) AS last"
            " FROM jobs_result r JOIN jobs_batch b ON r.batch_id = b.id"
            " WHERE b.public_id = %s AND r.latency_ms < 20000",
            batch,
        )
        seconds = (moment(took["last"]) - moment(took["first"])).total_seconds()
        sys.stdout.write(f"{name}: {seconds:.1f} s\n")
