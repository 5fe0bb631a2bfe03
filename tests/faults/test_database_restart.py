# SPDX-License-Identifier: Apache-2.0
"""A database that is away for a moment while long answers are generated."""

from __future__ import annotations

import time

import pytest

from jobs.health import NOTABLE_SECONDS, Closure, ended_gates
from tests.postgres import PostgresServer
from tests.site import DATABASES, Site, wait_for

from .checks import assert_exactly_once, batch_row, seed, wait_until_final
from .test_worker_processes import asked, start_workers

pytestmark = pytest.mark.slow


def outages(site: Site) -> list[Closure]:
    """What the Engines page tells of the database afterwards."""
    ended = ended_gates(site.engine("ext")["gates"])
    return [closure for closure in ended if closure.gate == "database"]


@pytest.mark.parametrize("site", DATABASES[1:], indirect=True)
def test_a_restart_of_the_database_redoes_no_long_generation(
    site: Site, test_engine: str, postgres: PostgresServer
) -> None:
    _, engine = start_workers(site, test_engine, drain_seconds=30)
    made = seed(site, "batch", rows=64, delay=20)
    wait_for(lambda: len(asked(test_engine)) == 64, what="all to be in flight")
    postgres.stop()
    # Longer than what is no news for the Engines page.
    time.sleep(NOTABLE_SECONDS + 1)
    postgres.start()
    wait_for(lambda: outages(site), what="the outage on the engine's row")
    # The cluster's pusher ends ten seconds after it missed the database.
    assert engine.wait(timeout=60) == 70
    assert batch_row(site, made)["result_seq"] == 64
    site.start("runworker")
    site.start("runworker", "--engine", "ext")
    wait_until_final(site, made)
    assert_exactly_once(site, made, 64)
    assert max(asked(test_engine).values()) == 1
