# SPDX-License-Identifier: Apache-2.0
"""Engines that are full, and rows that are slow, over real workers."""

from __future__ import annotations

import sys

import pytest

from tests.engine_process import counts, engine_process
from tests.faults.checks import (
    assert_exactly_once,
    batch_row,
    seed,
    wait_until_final,
)
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
    wait_until_final(site, alone, timeout=240)
    # Slow enough that not one of them ends, on however slow a machine.
    mixed = seed(site, "batch", rows=rows, delay=0.02, slow_every=every, slow=900)
    quick = rows - rows // every
    wait_for(
        lambda: batch_row(site, mixed)["result_seq"] == quick,
        timeout=240,
        what="all quick rows, though each chunk has a slow one or more",
    )
    found = counts(test_engine)
    assert found["running"] == rows // every
    assert found["most_running"] == 64
    seed(site, "cancel", batch=mixed)
    for name, batch in (("alone", alone), ("beside slow rows", mixed)):
        (took,) = site.query(
            "SELECT MIN(r.created_at) AS first, MAX(r.created_at) AS last"
            " FROM jobs_result r JOIN jobs_batch b ON r.batch_id = b.id"
            " WHERE b.public_id = %s AND r.status_code = 200",
            batch,
        )
        seconds = (moment(took["last"]) - moment(took["first"])).total_seconds()
        sys.stdout.write(f"quick rows {name}: {seconds:.1f} s\n")
