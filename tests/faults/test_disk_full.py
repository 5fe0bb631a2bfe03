# SPDX-License-Identifier: Apache-2.0
"""A disk that is full for a while: nothing is lost, it is said, and all goes on after."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.engine_journal import Reader
from tests.postgres import PostgresServer
from tests.site import Site, wait_for
from tests.web_server import new_key

from .checks import (
    assert_exactly_once,
    batch_row,
    seed,
    wait_until_final,
    wait_until_results,
)
from .full_disk import FullDisk, made_full
from .keepers import Keepers

pytestmark = pytest.mark.sweep
FULL_SECONDS = 15


@pytest.fixture(params=["disk", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FullDisk]:
    """Both mechanisms; where nothing can be mounted, the stand-in each time."""
    mounted = request.param == "disk"
    with made_full(tmp_path / "disk", mounted=mounted) as made:
        yield made


@contextlib.contextmanager
def kept(site: Site, logs: Path, journal: Path) -> Iterator[tuple[Keepers, OpenAI]]:
    """The site's processes, which write their output elsewhere, and a client."""
    site.logs = logs
    logs.mkdir()
    arguments = ("--journal", str(journal), "--max-num-seqs", "16")
    try:
        with Keepers(site, *arguments) as keepers:
            address = f"http://127.0.0.1:{keepers.port}/v1"
            with OpenAI(base_url=address, api_key=new_key(site), max_retries=9) as api:
                yield keepers, api
    finally:
        site.close()


def blocked_reason(api: OpenAI, public_id: str) -> str:
    """What the API says that the batch waits for."""
    batch: Any = api.batches.retrieve(public_id)
    return batch.batchsite["queue"]["blocked_reason"] or ""


def times_asked(journal: Path) -> list[int]:
    """How often each request came to the engine."""
    reader = Reader(journal)
    reader.read()
    return reader.times_asked()


def test_a_full_disk_under_the_database_loses_nothing(
    disk: FullDisk, migrated_sqlite: Path, tmp_path: Path
) -> None:
    site = Site(disk.folder / "site")
    shutil.copy(migrated_sqlite, site.folder / "db.sqlite3")
    journal = tmp_path / "journal"
    with kept(site, tmp_path / "logs", journal) as (keepers, api):
        made = seed(site, "batch", rows=900, delay=0.4)
        wait_until_results(site, made, 60, timeout=90)
        disk.fill(site)
        if disk.is_a_disk:
            wait_for(
                lambda: "the disk of the database is full" in blocked_reason(api, made),
                timeout=30,
                what="the reason in words",
            )
            alarm = "print(engines.alarms()[0].title)"
            told = site.python(f"from jobs.web import engines; {alarm}")
            assert told.strip() == "The disk of the database is full."
        feeder = keepers.kept["feeder"].process
        assert feeder is not None
        wait_for(
            lambda: "the database takes no results; they wait" in feeder.log(),
            timeout=60,
            what=f"a result that cannot be stored: {batch_row(site, made)}",
        )
        time.sleep(FULL_SECONDS)
        assert batch_row(site, made)["status"] == "in_progress"
        disk.free()
        wait_until_final(site, made, timeout=150)
        assert_exactly_once(site, made, 900)
        assert max(times_asked(journal)) == 1


def test_a_full_disk_under_the_files_delays_the_end_alone(
    disk: FullDisk, migrated_postgres: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.create(f"full_{time.time_ns()}", template=migrated_postgres)
    site = Site(disk.folder / "site", database_url=url)
    journal = tmp_path / "journal"
    with kept(site, tmp_path / "logs", journal) as (_, _):
        made = seed(site, "batch", rows=300, delay=0.4, size=2000)
        wait_until_results(site, made, 60, timeout=90)
        disk.fill(site)
        wait_for(
            lambda: batch_row(site, made)["status"] == "finalizing",
            timeout=60,
            what="finalizing",
        )

        def told() -> list[dict[str, Any]]:
            return site.query(
                "SELECT message FROM jobs_batchevent WHERE kind = %s",
                "stage_waits" if disk.is_a_disk else "stage_failed",
            )

        wait_for(told, timeout=60, what="the reason in the batch's history")
        words = "No space left on device" if disk.is_a_disk else "File too large"
        assert words in told()[0]["message"]
        time.sleep(FULL_SECONDS)
        assert batch_row(site, made)["status"] == "finalizing"
        results = site.folder / "files" / "results"
        assert [p for p in results.rglob("*") if p.is_file()] == []
        disk.free()
        row = wait_until_final(site, made, timeout=150)
        assert_exactly_once(site, made, 300)
        # One file, whole, and nothing of the tries before.
        (file,) = [p for p in results.rglob("*") if p.is_file()]
        (named,) = site.query(
            "SELECT storage_name, bytes FROM jobs_batchfile WHERE id = %s",
            row["output_file_id"],
        )
        assert file == site.folder / "files" / named["storage_name"]
        assert file.stat().st_size == named["bytes"]
        spool = site.folder / "spool"
        assert [p for p in spool.rglob("*") if p.is_file()] == []
        assert max(times_asked(journal)) == 1
