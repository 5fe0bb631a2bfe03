# SPDX-License-Identifier: Apache-2.0
"""Control workers killed in the middle of intake and of the files; a database outage."""

from __future__ import annotations

import time

import pytest

from tests.e2e.client import start_up
from tests.postgres import PostgresServer
from tests.site import DATABASES, Site, wait_for

from .checks import (
    assert_exactly_once,
    batch_row,
    kill_worker,
    seed,
    wait_until_final,
    wait_until_results,
)

pytestmark = pytest.mark.slow
both = pytest.mark.parametrize("site", DATABASES, indirect=True)


@both
@pytest.mark.parametrize("whole", [True, False])
def test_intake_goes_on_where_a_killed_worker_stopped(site: Site, whole: bool) -> None:
    control = site.start("runworker")
    control.expect("ready")
    site.query(
        "INSERT INTO jobs_servedmodel (name, source, revision, engine_args, state, state_reason, load_failures, created_at) VALUES ('tiny', '', '', '[]', 'enabled', '', 0, '2026-01-01T00:00:00Z')"
    )
    made = seed(site, "batch", rows=30_000)
    key = batch_row(site, made)["id"]

    def inserted() -> int:
        counted = site.query(
            "SELECT COUNT(*) AS n FROM jobs_batchrequest WHERE batch_id = %s", key
        )
        return int(counted[0]["n"])

    wait_for(inserted, timeout=30, what="the first rows")
    kill_worker(control, whole=whole)
    before = inserted()
    assert 0 < before < 30_000
    site.start("runworker")
    wait_for(
        lambda: batch_row(site, made)["status"] == "in_progress",
        timeout=120,
        what="the end of intake",
    )
    assert inserted() == batch_row(site, made)["total"] == 30_000
    (chunks,) = site.query(
        'SELECT SUM("end" - start) AS n FROM jobs_chunk WHERE batch_id = %s', key
    )
    assert chunks["n"] == 30_000


@both
def test_files_are_written_again_after_a_kill(site: Site, test_engine: str) -> None:
    seed(site, "external_engine", url=test_engine, window=256)
    control = site.start("runworker")
    engine = site.start("runworker", "--engine", "ext")
    for process in (control, engine):
        process.expect("ready")
    made = seed(site, "batch", rows=8000, size=2000)

    def finalizing() -> bool:
        return bool(batch_row(site, made)["status"] == "finalizing")

    wait_for(finalizing, timeout=180, what="finalizing")
    kill_worker(control, whole=True)
    assert batch_row(site, made)["status"] == "finalizing"
    site.start("runworker")
    wait_until_final(site, made)
    assert_exactly_once(site, made, 8000)
    # What the killed worker had saved and not published is gone too.
    stored = [p for p in (site.folder / "files" / "results").rglob("*") if p.is_file()]
    published = site.query(
        "SELECT id FROM jobs_batchfile WHERE purpose = 'batch_output'"
    )
    assert len(stored) == len(published)


@pytest.mark.parametrize("site", DATABASES[1:], indirect=True)
def test_a_database_outage_loses_nothing(
    site: Site, test_engine: str, postgres: PostgresServer
) -> None:
    seed(site, "external_engine", url=test_engine)
    running = start_up(site, "--no-engine")
    made = seed(site, "batch", rows=600, delay=0.3)
    wait_until_results(site, made, 60)
    postgres.stop()
    time.sleep(4)
    postgres.start()
    wait_until_final(site, made, timeout=90)
    assert_exactly_once(site, made, 600)
    assert running.up.stop() == 0
    assert site.left_over() == {}
