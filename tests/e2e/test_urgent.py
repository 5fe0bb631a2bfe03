# SPDX-License-Identifier: Apache-2.0
"""Urgent batches beside large ones, over real workers and the test engine."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import pytest

from tests.faults.checks import (
    assert_exactly_once,
    batch_row,
    seed,
    wait_until_final,
    wait_until_results,
)
from tests.site import DATABASES, Site, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("site", DATABASES, indirect=True),
]


def start_workers(site: Site, url: str, *, window: int) -> None:
    """A control worker and a worker of the external engine, both ready."""
    seed(site, "external_engine", url=url, window=window)
    site.start("runworker").expect("Control worker is ready.")
    site.start("runworker", "--engine", "ext").expect("Worker of engine ext is ready.")


def passed_by(site: Site, large: str, urgent: dict[str, Any]) -> int:
    """Results of the large batch from when the urgent one runs to its last answer."""
    (passed,) = site.query(
        "SELECT COUNT(*) AS n FROM jobs_result r JOIN jobs_batch b"
        " ON r.batch_id = b.id WHERE b.public_id = %s AND r.created_at > %s"
        " AND r.created_at < (SELECT MAX(created_at) FROM jobs_result"
        " WHERE batch_id = %s)",
        large,
        urgent["in_progress_at"],
        urgent["id"],
    )
    return int(passed["n"])


def test_urgent_rows_get_the_next_places_beside_a_large_batch(
    site: Site, test_engine: str
) -> None:
    start_workers(site, test_engine, window=8)
    # Short answers make large chunks: one of 256 rows waits in the feeder.
    large = seed(site, "batch", rows=400, delay=0.5, max_tokens=1)
    wait_until_results(site, large, 8)
    urgent = [seed(site, "batch", rows=1, priority=100) for _ in range(3)]
    rows = [wait_until_final(site, one) for one in urgent]
    wait_until_final(site, large)
    for row in rows:
        # Counted in requests, so that a slow machine changes nothing: a window's worth
        # ends before its turn, another one beside it, and the rest is for a late look.
        assert passed_by(site, large, row) <= 80


def moment(value: Any) -> datetime:
    """A time of the database, which SQLite gives as text."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def test_ten_urgent_rows_are_answered_soon_beside_fifty_thousand(
    site: Site, test_engine: str
) -> None:
    start_workers(site, test_engine, window=64)
    large = seed(site, "batch", rows=50_000, delay=0.1, max_tokens=1)
    wait_for(
        lambda: batch_row(site, large)["result_seq"] >= 500,
        timeout=120,
        what="the large batch to run",
    )
    urgent = seed(site, "batch", rows=10, delay=0.1, priority=100)
    row = wait_until_final(site, urgent)
    assert batch_row(site, large)["status"] == "in_progress"
    seed(site, "cancel", batch=large)
    assert_exactly_once(site, urgent, 10)
    (answers,) = site.query(
        "SELECT MIN(created_at) AS first, MAX(created_at) AS last FROM jobs_result"
        " WHERE batch_id = %s",
        row["id"],
    )
    created = moment(row["created_at"])
    for name, at in (
        ("running after", row["in_progress_at"]),
        ("first answer after", answers["first"]),
        ("last answer after", answers["last"]),
        ("completed after", row["completed_at"]),
    ):
        seconds = (moment(at) - created).total_seconds()
        sys.stdout.write(f"{name} {seconds:.1f} s\n")
    # The seconds are for who reads them; a slow machine answers fewer meanwhile.
    assert passed_by(site, large, row) <= 5000


def start_managed(site: Site, **env: str) -> None:
    """A managed engine of ten places for the models a and b, and both workers."""
    for model in ("a", "b"):
        seed(site, "served_model", name=model, engine_args=["--max-num-seqs", "8"])
    site.start("runengine", "--name", "gpu0", **env).expect("runs")
    site.start("runworker").expect("Control worker is ready.")
    worker = site.start("runworker", "--engine", "gpu0", **env)
    worker.expect("Worker of engine gpu0 is ready.")


def chunks_of(site: Site, batch: str) -> list[dict[str, Any]]:
    return site.query(
        "SELECT c.state, c.attempts, c.lease_epoch FROM jobs_chunk c"
        " JOIN jobs_batch b ON c.batch_id = b.id WHERE b.public_id = %s",
        batch,
    )


def test_urgent_work_for_another_model_has_the_engine_and_costs_no_attempt(
    site: Site,
) -> None:
    start_managed(site, BATCHSITE_MODEL_STAY="1", BATCHSITE_MODEL_WAIT="3600")
    large = seed(site, "batch", rows=400, model="a", delay=0.5)
    wait_until_results(site, large, 16)
    urgent = seed(site, "batch", rows=10, model="b", priority=100)
    wait_until_final(site, urgent)
    assert batch_row(site, large)["result_seq"] < 400
    wait_until_final(site, large)
    assert_exactly_once(site, urgent, 10)
    assert_exactly_once(site, large, 400)
    # a, b, and a again.
    assert site.engine("gpu0")["generation"] == 3
    chunks = chunks_of(site, large)
    # Some were given back and claimed anew, and that is no attempt.
    assert max(chunk["lease_epoch"] for chunk in chunks) == 2
    assert {chunk["attempts"] for chunk in chunks} == {1}
    assert site.query("SELECT id FROM jobs_suspect") == []
    # What was in flight was waited for.
    (tries,) = site.query("SELECT MAX(attempts) AS most FROM jobs_result")
    assert tries["most"] == 1


def test_requests_that_outlast_the_drain_run_again_and_are_no_suspects(
    site: Site,
) -> None:
    start_managed(
        site,
        BATCHSITE_MODEL_STAY="1",
        BATCHSITE_MODEL_WAIT="3600",
        BATCHSITE_DRAIN_SECONDS="3",
    )
    long = seed(site, "batch", rows=8, model="a", delay=120)
    wait_for(
        lambda: site.engine("gpu0").get("in_flight") == 8,
        timeout=60,
        what="all to be in flight",
    )
    urgent = seed(site, "batch", rows=10, model="b", priority=100)
    wait_until_final(site, urgent)
    assert_exactly_once(site, urgent, 10)
    # They are back at the engine, from the beginning.
    wait_for(
        lambda: {c["lease_epoch"] for c in chunks_of(site, long)} == {2},
        timeout=30,
        what="the second claim",
    )
    assert {chunk["attempts"] for chunk in chunks_of(site, long)} == {1}
    assert site.query("SELECT id FROM jobs_suspect") == []
    assert batch_row(site, long)["result_seq"] == 0
    assert "crashed" not in site.processes[0].log()
