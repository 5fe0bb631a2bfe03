# SPDX-License-Identifier: Apache-2.0
"""Requests that kill or hang their engine, and an engine that stops under its requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.site import DATABASES, Process, Site, wait_for

from .checks import (
    assert_exactly_once,
    batch_row,
    seed,
    wait_until_final,
    wait_until_results,
)

pytestmark = pytest.mark.slow
# Two minutes each: the long ones run on one database, the longest of a kind on both.
SQLITE = pytest.mark.parametrize("site", DATABASES[:1], indirect=True)
POSTGRES = pytest.mark.parametrize("site", DATABASES[-1:], indirect=True)
BOTH = pytest.mark.parametrize("site", DATABASES, indirect=True)
# A window of 320 requests.
ENGINE_ARGS = ("--max-num-seqs", "256", "--with-core")


def start(site: Site, *names: str, **env: str) -> list[Process]:
    """A control worker, the engine's host and its worker; models of these names."""
    for name in names or ("tiny",):
        site.query(
            "INSERT INTO jobs_servedmodel (name, source, revision, engine_args, state,"
            " state_reason, load_failures, created_at)"
            " VALUES (%s, %s, '', %s, 'enabled', '', 0, '2026-01-01 00:00:00+00:00')",
            name,
            f"org/{name}",
            json.dumps(ENGINE_ARGS),
        )
    host = site.start("runengine", "--name", "gpu0", **env)
    host.expect("runs")
    worker = site.start("runworker", "--engine", "gpu0")
    return [host, worker, site.start("runworker")]


def errors(site: Site, made: str) -> dict[str, str]:
    """The rows without an answer of the engine, and why."""
    rows = site.query(
        "SELECT r.custom_id, s.error_code, s.status_code FROM jobs_result s"
        " JOIN jobs_batchrequest r ON r.id = s.request_id"
        " WHERE s.batch_id = %s AND s.outcome <> 'completed'",
        batch_row(site, made)["id"],
    )
    return {row["custom_id"]: row["error_code"] for row in rows}


def events(site: Site, *kinds: str) -> list[dict[str, Any]]:
    return [
        row
        for row in site.query("SELECT * FROM jobs_engineevent ORDER BY id")
        if row["kind"] in kinds
    ]


def suspects(site: Site) -> int:
    (row,) = site.query("SELECT COUNT(*) AS n FROM jobs_suspect")
    return int(row["n"])


@pytest.mark.parametrize(
    ("poison", "site"),
    [([100], "sqlite"), *(([3, 200], database) for database in DATABASES)],
    indirect=["site"],
)
def test_rows_that_kill_the_engine_are_found_and_all_others_answered(
    site: Site, poison: list[int]
) -> None:
    start(site)
    kills = {str(n): {"kill": True, "delay": 1} for n in poison}
    made = seed(site, "batch", rows=256, delay=1.5, special=kills)
    wait_until_final(site, made, timeout=240)
    assert errors(site, made) == {f"r{n}": "engine_crashed" for n in poison}
    assert_exactly_once(site, made, 256)
    # 256, 16, 1 and 1 in flight for the first, 16, 1 and 1 for the second.
    deaths = events(site, "died")
    assert len(deaths) <= 1 + 3 * len(poison)
    assert site.engine("gpu0")["generation"] <= 8
    assert not site.engine("gpu0")["paused"]


@POSTGRES
def test_an_engine_that_only_dies_is_given_up_until_a_person_lets_it_go_on(
    site: Site,
) -> None:
    start(site)
    made = seed(site, "batch", rows=40, delay=0.2, kill=True)
    wait_for(lambda: site.engine("gpu0")["paused"], timeout=240, what="the pause")
    row = site.engine("gpu0")
    assert (row["state"], row["generation"]) == ("failed", 8)
    assert "it ended 8 times in a row" in row["state_reason"]
    assert "take the pause away" in row["state_reason"]
    assert errors(site, made) == {}
    assert len(events(site, "paused")) == 1
    site.query("UPDATE jobs_engine SET paused = %s", False)
    wait_for(lambda: site.engine("gpu0")["generation"] > 8, what="another start")
    assert len(events(site, "resumed")) == 1


@SQLITE
def test_a_core_that_stands_still_is_ended_and_its_requests_run(site: Site) -> None:
    start(site, BATCHSITE_ENGINE_HANG_SECONDS="6")
    hangs = {"5": {"hang_core": True}}
    made = seed(site, "batch", rows=60, delay=0.5, special=hangs)
    wait_for(lambda: events(site, "hung"), timeout=60, what="the hang to be noticed")
    assert "produced no token for" in events(site, "hung")[0]["reason"]
    wait_for(lambda: suspects(site), what="suspects")
    wait_until_final(site, made, timeout=240)
    assert errors(site, made) == {"r5": "engine_crashed"}
    assert_exactly_once(site, made, 60)


@BOTH
def test_the_stop_of_a_host_casts_no_suspicion_on_what_was_in_flight(
    site: Site,
) -> None:
    host, *_ = start(site)
    made = seed(site, "batch", rows=400, delay=1)
    wait_until_results(site, made, 50)
    assert host.stop() == 0
    row = site.engine("gpu0")
    assert (row["state"], row["state_reason"]) == ("stopped", "its host is not running")
    reasons = [event["reason"] for event in events(site, "moved")]
    assert "its host stops" in reasons
    site.start("runengine", "--name", "gpu0").expect("runs")
    wait_until_final(site, made, timeout=120)
    assert_exactly_once(site, made, 400)
    assert suspects(site) == 0
    assert events(site, "died", "hung", "load_failed") == []
    # An attempt is one claim that counts; none but the last one of each chunk does.
    chunks = site.query("SELECT attempts FROM jobs_chunk")
    assert {chunk["attempts"] for chunk in chunks} == {1}
