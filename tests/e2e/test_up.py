# SPDX-License-Identifier: Apache-2.0
"""`manage.py up`: what it starts, restarts, and never leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from batchsite.foreman import Child, say, stop_all
from tests.faults.checks import (
    assert_exactly_once,
    seed,
    wait_until_final,
    wait_until_results,
)
from tests.postgres import free_port
from tests.site import Site, wait_for

from .client import Running, start_up

pytestmark = pytest.mark.slow


def add_model(site: Site, *engine_args: str) -> None:
    """A model "tiny" that the managed engine can load."""
    folder = site.folder / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["Tiny"]}))
    site.run("addmodel", "tiny", "--source", str(folder))
    site.query("UPDATE jobs_servedmodel SET engine_args = %s", json.dumps(engine_args))


@pytest.fixture
def running(site: Site) -> Running:
    """A whole site whose managed engine is the test engine, loaded and ready."""
    add_model(site)
    return start_up(site)


def pids(site: Site, words: str) -> list[int]:
    """Living processes of the site whose command line has these words."""
    return [pid for pid, command in site.left_over().items() if words in command]


def test_a_batch_loads_its_model_and_runs(running: Running) -> None:
    made = seed(running.site, "batch", rows=30)
    wait_until_final(running.site, made)
    assert_exactly_once(running.site, made, 30)
    assert running.site.engine("local")["state"] == "ready"


def test_ctrl_c_to_the_whole_terminal_stops_everything_in_time(
    running: Running,
) -> None:
    made = seed(running.site, "batch", rows=2000, delay=0.5)
    wait_until_results(running.site, made, 50)
    os.killpg(running.up.pid, signal.SIGINT)
    assert running.up.wait(timeout=15) == 0
    assert running.site.left_over() == {}
    assert "Traceback" not in running.up.log()


@pytest.mark.parametrize("hurry", [False, True])
@pytest.mark.parametrize("wedged", [False, True])
def test_an_engine_that_does_not_stop_is_gone_with_up(
    site: Site, hurry: bool, wedged: bool
) -> None:
    add_model(site, "--ignore-sigterm", "--with-core")
    up = start_up(site).up
    made = seed(site, "batch", rows=200, delay=3)
    wait_until_results(site, made, 1)
    if wedged:
        # A host that can do nothing for its engine any more.
        os.kill(min(pids(site, "runengine")), signal.SIGSTOP)
    up.signal(signal.SIGINT)
    if hurry:
        up.expect("stopping;")
        up.signal(signal.SIGINT)
    assert up.wait(timeout=20) == 0
    assert site.left_over() == {}
    # Only a host that is wedged is killed; any other ends its engine itself.
    assert ("engine local    | did not stop in time" in up.log()) is wedged


def test_hurry_ends_the_wait_for_a_child_that_does_not_stop(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stubborn = Child(
        "stubborn", ["sh", "-c", "trap '' TERM; echo; while :; do sleep 1; done"]
    )
    stubborn.tend()
    wait_for(lambda: "stubborn" in capsys.readouterr().out, what="its trap")
    hurry = threading.Event()
    stopping = threading.Thread(
        target=stop_all,
        args=([stubborn],),
        kwargs={"seconds": 3600, "hurry": hurry},
        daemon=True,
    )
    stopping.start()
    hurry.set()
    stopping.join(60)
    assert not stopping.is_alive()
    assert not stubborn.alive


def test_kill_9_of_up_leaves_no_process(running: Running) -> None:
    made = seed(running.site, "batch", rows=2000, delay=0.5)
    wait_until_results(running.site, made, 50)
    running.up.kill()
    wait_for(lambda: not running.site.left_over(), timeout=50, what="nobody left")


@pytest.mark.parametrize(
    "victim",
    [
        "gunicorn",
        "runworker --drain",
        "runworker --engine",
        "runengine",
        "engine_server",
    ],
)
def test_what_is_killed_comes_back_and_the_batch_completes(
    running: Running, victim: str
) -> None:
    made = seed(running.site, "batch", rows=400, delay=0.2)
    wait_until_results(running.site, made, 40)
    # The oldest of the name is the main process.
    os.kill(min(pids(running.site, victim)), signal.SIGKILL)
    wait_until_final(running.site, made, timeout=90)
    assert_exactly_once(running.site, made, 400)
    wait_for(lambda: pids(running.site, victim), what=f"{victim} to be back")


def test_a_taken_port_is_said_at_once(site: Site, test_engine: str) -> None:
    port = test_engine.rpartition(":")[2]
    done = site.run("up", "--port", port, "--no-engine", check=False)
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr


def test_another_secret_key_is_refused(site: Site) -> None:
    site.run("createapikey", "--team", "T", "--user", "a@example.com", "--name", "n")
    up = site.start("up", "--no-engine", "--port", str(free_port()))
    up.expect("Control worker is ready.")
    assert up.stop() == 0
    for command in (["up", "--no-engine", "--port", str(free_port())], ["runworker"]):
        done = site.run(*command, check=False, SECRET_KEY="quite another key" * 4)
        assert done.returncode == 1
        assert "another SECRET_KEY" in done.stderr


def test_output_that_cannot_be_written_blocks_no_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Far more than a pipe holds.
    flood = Child("flood", ["sh", "-c", "yes | head -c 1000000"])

    def relayed() -> bool:
        return all(thread.name != "relay-flood" for thread in threading.enumerate())

    with Path("/dev/full").open("w", encoding="ascii") as full:
        monkeypatch.setattr(sys, "stdout", full)
        flood.tend()
        wait_for(lambda: not flood.alive, timeout=10, what="the end of the child")
        wait_for(relayed, what="the end of its output")
        say("flood", "no ASCII: \u00e9")
        monkeypatch.undo()
        flood.kill()
        # What is still buffered cannot be written either.
        with contextlib.suppress(OSError):
            full.close()
