# SPDX-License-Identifier: Apache-2.0
"""`runengine` with real processes that are killed; the engine is the test engine."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from jobs import processes
from jobs.engines import probe
from jobs.engines.client import EngineClient
from tests.postgres import PostgresServer
from tests.site import DATABASES, Process, Site, wait_for

pytestmark = pytest.mark.slow


def add_model(site: Site, name: str, *engine_args: str) -> int:
    """A model the test engine serves; returns its primary key."""
    site.query(
        "INSERT INTO jobs_servedmodel (name, source, revision, engine_args, state,"
        " state_reason, load_failures, created_at)"
        " VALUES (%s, %s, '', %s, 'enabled', '', 0, '2026-01-01 00:00:00+00:00')",
        name,
        f"org/{name}",
        json.dumps([*engine_args, "--with-core"]),
    )
    found = site.query("SELECT id FROM jobs_servedmodel WHERE name = %s", name)
    return int(found[0]["id"])


def want(site: Site, model: int, engine: str = "gpu0") -> None:
    """What a feeder does when its queue asks for a model."""
    site.query(
        "UPDATE jobs_engine SET wanted_model_id = %s WHERE name = %s", model, engine
    )


def state(site: Site, wanted: str, *, generation: int = 0, timeout: float = 20) -> Any:
    """Wait until the engine is in a state of a generation at least as new."""

    def look() -> dict[str, Any]:
        row = site.engine("gpu0")
        fits = row and row["state"] == wanted and row["generation"] >= generation
        return row if fits else {}

    try:
        return wait_for(look, timeout=timeout, what=f"{wanted} {generation}")
    except AssertionError as error:
        row = site.engine("gpu0")
        raise AssertionError(f"{error}: {row}\n{site.processes[-1].log()}") from error


def started(site: Site, **env: str) -> Process:
    """A host whose engine waits for its first batch."""
    host = site.start("runengine", "--name", "gpu0", **env)
    host.expect("runs")
    return host


def api_server(site: Site) -> int:
    """The pid on record."""
    return int(site.engine_record("gpu0")["pid"])


def models_served(row: dict[str, Any]) -> list[str]:
    """What answers on the engine's socket."""
    return probe.identity(EngineClient(socket_path=row["socket_path"])).models


@pytest.mark.parametrize("site", DATABASES, indirect=True)
def test_engine_waits_then_loads_what_is_wanted_and_stops_cleanly(site: Site) -> None:
    tiny = add_model(site, "tiny")
    host = started(site)
    wait_for(lambda: "waits for the first batch" in site.engine("gpu0")["state_reason"])
    want(site, tiny)
    row = state(site, "ready")
    assert row["generation"] == 1
    assert row["loaded_model_id"] == tiny
    assert row["socket_path"].endswith("gpu0-1.sock")
    assert models_served(row) == ["tiny"]
    assert len(site.left_over()) == 3  # host, API server, core
    assert host.stop() == 0
    assert site.left_over() == {}
    row = site.engine("gpu0")
    assert (row["state"], row["host_token"]) == ("stopped", "")
    assert not Path(row["socket_path"]).exists() or row["socket_path"] == ""


def test_killed_api_server_is_replaced_by_a_new_generation(site: Site) -> None:
    tiny = add_model(site, "tiny")
    started(site)
    want(site, tiny)
    first = state(site, "ready")
    killed = api_server(site)
    members = set(processes.session_members(killed))
    assert len(members) == 2
    os.kill(killed, signal.SIGKILL)
    row = state(site, "failed")
    assert "was killed by SIGKILL" in row["state_reason"]
    row = state(site, "ready", generation=2)
    # The core of the dead server is gone, its socket refuses.
    assert processes.session_members(killed) == []
    assert not Path(first["socket_path"]).exists()
    assert models_served(row) == ["tiny"]


def test_killed_host_leaves_no_engine_and_the_next_one_goes_on(site: Site) -> None:
    tiny = add_model(site, "tiny")
    host = started(site)
    want(site, tiny)
    state(site, "ready")
    host.kill()
    wait_for(lambda: not site.left_over(), timeout=5, what="all gone")
    started(site)
    assert state(site, "ready", generation=2)["loaded_model_id"] == tiny


def test_core_left_by_a_killed_host_and_server_is_killed_at_the_next_start(
    site: Site,
) -> None:
    tiny = add_model(site, "tiny")
    host = started(site)
    want(site, tiny)
    state(site, "ready")
    server = api_server(site)
    # Both at once: nobody is left to end the core.
    os.kill(host.pid, signal.SIGSTOP)
    os.kill(server, signal.SIGKILL)
    host.kill()
    assert len(site.left_over()) == 1
    started(site)
    state(site, "ready", generation=2)
    assert processes.session_members(server) == []


def test_swap_waits_for_what_is_in_flight(site: Site) -> None:
    first, second = add_model(site, "first"), add_model(site, "second")
    started(site, BATCHSITE_DRAIN_SECONDS="60")
    want(site, first)
    state(site, "ready")
    clock = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    site.query(f"UPDATE jobs_engine SET in_flight = 3, worker_heartbeat = {clock}")
    want(site, second)
    row = state(site, "draining")
    assert row["loaded_model_id"] == first
    wait_for(
        lambda: "finishes 3 requests" in site.engine("gpu0")["state_reason"], timeout=5
    )
    assert models_served(row) == ["first"]
    site.query(f"UPDATE jobs_engine SET in_flight = 0, worker_heartbeat = {clock}")
    row = state(site, "ready", generation=2)
    assert row["loaded_model_id"] == second
    assert models_served(row) == ["second"]


def test_model_that_fails_to_load_three_times_is_given_up(site: Site) -> None:
    broken = add_model(site, "broken", "--fail-load", "no such tensor")
    good = add_model(site, "good")
    started(site)
    want(site, broken)

    def given_up() -> list[dict[str, Any]]:
        return site.query("SELECT * FROM jobs_servedmodel WHERE state = 'failed'")

    model = wait_for(given_up, timeout=30)[0]
    assert model["name"] == "broken"
    assert model["load_failures"] == 3
    assert "RuntimeError: no such tensor" in model["state_reason"]
    row = state(site, "failed", generation=3)
    wait_for(lambda: "given up" in site.engine("gpu0")["state_reason"], what="given up")
    assert row["generation"] == 3
    want(site, good)
    assert state(site, "ready")["loaded_model_id"] == good


def test_second_signal_kills_an_engine_that_does_not_stop(site: Site) -> None:
    tiny = add_model(site, "stubborn", "--ignore-sigterm")
    host = started(site)
    want(site, tiny)
    state(site, "ready")
    host.signal(signal.SIGTERM)
    state(site, "stopping")
    host.signal(signal.SIGTERM)
    assert host.wait(timeout=5) == 0
    assert site.left_over() == {}


def test_second_host_of_a_name_waits_and_takes_over(site: Site) -> None:
    tiny = add_model(site, "tiny")
    first = started(site)
    want(site, tiny)
    state(site, "ready")
    second = site.start("runengine", "--name", "gpu0")
    assert f"process {first.pid} on" in second.expect("Waiting")
    first.kill()
    second.expect("runs", timeout=10)
    state(site, "ready", generation=2)


def test_signal_while_loading_stops_at_once(site: Site) -> None:
    slow = add_model(site, "slow", "--load-seconds", "60")
    host = started(site)
    want(site, slow)
    state(site, "loading")
    wait_for(lambda: "Loading weights" in site.engine("gpu0")["state_reason"])
    assert host.stop(timeout=10) == 0
    assert site.left_over() == {}


@pytest.mark.parametrize("site", DATABASES[1:], indirect=True)
def test_database_outage_leaves_a_ready_engine_alone(
    site: Site, postgres: PostgresServer
) -> None:
    tiny = add_model(site, "tiny")
    host = started(site)
    want(site, tiny)
    row = state(site, "ready")
    server = api_server(site)
    postgres.stop()
    try:
        host.expect("the database does not answer", timeout=15)
        assert models_served(row) == ["tiny"]
    finally:
        postgres.start()
    before = site.engine("gpu0")["host_heartbeat"]
    wait_for(lambda: site.engine("gpu0")["host_heartbeat"] > before, timeout=15)
    assert api_server(site) == server
    assert state(site, "ready")["generation"] == 1
    assert host.stop() == 0


def test_wrong_name_model_or_key_is_refused_at_the_start(site: Site) -> None:
    done = site.run("runengine", "--name", "../x", check=False)
    assert "is no engine name" in done.stderr
    done = site.run("runengine", "--name", "a", "--model", "none", check=False)
    assert "There is no model 'none' that can be loaded" in done.stderr
    site.run(
        "shell",
        "-c",
        "from jobs.models import Engine; Engine.objects.create("
        "name='lab', kind='external', base_url='http://127.0.0.1:1')",
    )
    done = site.run("runengine", "--name", "lab", check=False)
    assert "it has no host" in done.stderr
    started(site)
    done = site.run("runengine", "--name", "b", check=False, SECRET_KEY="x" * 50)
    assert "another SECRET_KEY" in done.stderr
