# SPDX-License-Identifier: Apache-2.0
"""Workers that are stopped and killed in the middle of their work."""

from __future__ import annotations

import os
import signal

import pytest

from jobs.processes import start_time
from tests.engine_process import counts
from tests.site import DATABASES, Process, Site, wait_for

from .checks import (
    assert_exactly_once,
    batch_row,
    elders,
    family,
    seed,
    wait_until_final,
    wait_until_results,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("site", DATABASES, indirect=True),
]


def start_workers(
    site: Site, url: str, *, drain_seconds: int = 5
) -> tuple[Process, Process]:
    """A control worker and a worker of the external engine, both ready."""
    seed(site, "external_engine", url=url)
    control = site.start("runworker")
    drain = ("--drain-seconds", str(drain_seconds))
    engine = site.start("runworker", "--engine", "ext", *drain)
    control.expect("Control worker is ready.")
    engine.expect("Worker of engine ext is ready.")
    return control, engine


def asked(url: str) -> dict[str, int]:
    found: dict[str, int] = counts(url)["keys"]
    return found


def test_sigterm_drains_and_redoes_nothing(site: Site, test_engine: str) -> None:
    control, engine = start_workers(site, test_engine)
    made = seed(site, "batch", rows=600, delay=0.2)
    wait_until_results(site, made, 60)
    assert engine.stop() == 0
    leased = "SELECT id FROM jobs_chunk WHERE state = 'leased'"
    assert site.query(leased) == []
    assert site.engine("ext")["worker_token"] == ""
    before = batch_row(site, made)["result_seq"]
    assert before < 600
    assert sum(asked(test_engine).values()) == before
    site.start("runworker", "--engine", "ext").expect("is ready")
    wait_until_final(site, made)
    assert_exactly_once(site, made, 600)
    assert max(asked(test_engine).values()) == 1
    assert control.stop() == 0
    assert engine.log().count("Traceback") == 0, engine.log()


def test_kill_9_of_the_main_process_leaves_nobody_and_loses_nothing(
    site: Site, test_engine: str
) -> None:
    control, engine = start_workers(site, test_engine)
    made = seed(site, "batch", rows=600, delay=0.2)
    wait_until_results(site, made, 60)
    members = [*family(engine), *family(control)]
    for process in (engine, control):
        process.kill()
    wait_for(lambda: not site.left_over(), timeout=20, what="no process left")
    # A process on its way out has no environment any more by which it would be found.
    wait_for(
        lambda: all(start_time(pid) is None for pid in members),
        timeout=5,
        what="the end of all members",
    )
    site.start("runworker")
    site.start("runworker", "--engine", "ext")
    wait_until_final(site, made)
    assert_exactly_once(site, made, 600)
    again = sum(n - 1 for n in asked(test_engine).values())
    # What was in flight, and at most a second of answers that were not stored yet.
    assert again <= 64 + 400


@pytest.mark.parametrize("who", ["sentinel", "worker"])
def test_the_death_of_who_does_the_work_ends_the_worker_and_a_new_one_goes_on(
    site: Site, test_engine: str, who: str
) -> None:
    _, engine = start_workers(site, test_engine)
    made = seed(site, "batch", rows=300, delay=0.2)
    wait_until_results(site, made, 30)
    victim = family(engine)[0] if who == "sentinel" else elders(engine)[0]
    os.kill(victim, signal.SIGKILL)
    assert engine.wait(timeout=4) == 70
    members = [p for p, c in site.left_over().items() if "--engine" in c]
    wait_for(
        lambda: not any("--engine" in c for c in site.left_over().values()),
        timeout=5,
        what=f"{members} to go",
    )
    site.start("runworker", "--engine", "ext")
    wait_until_final(site, made)
    assert_exactly_once(site, made, 300)


@pytest.mark.parametrize("who", ["monitor", "pusher"])
def test_the_death_of_a_helper_ends_the_worker_after_its_requests(
    site: Site, test_engine: str, who: str
) -> None:
    _, engine = start_workers(site, test_engine)
    made = seed(site, "batch", rows=300, delay=2)
    wait_until_results(site, made, 30)
    os.kill(elders(engine)[1 if who == "monitor" else 2], signal.SIGKILL)
    assert engine.wait(timeout=15) == 70
    assert "the work in hand is finished first" in engine.log()
    assert site.engine("ext")["worker_token"] == ""
    before = batch_row(site, made)["result_seq"]
    assert before < 300
    assert sum(asked(test_engine).values()) == before
    wait_for(
        lambda: not any("--engine" in c for c in site.left_over().values()),
        timeout=5,
        what="all of it to go",
    )
    site.start("runworker", "--engine", "ext")
    wait_until_final(site, made)
    assert_exactly_once(site, made, 300)
    assert max(asked(test_engine).values()) == 1


def test_a_worker_that_drains_for_long_keeps_its_engine_until_the_end(
    site: Site, test_engine: str
) -> None:
    _, first = start_workers(site, test_engine, drain_seconds=40)
    made = seed(site, "batch", rows=8, delay=24)
    wait_for(lambda: len(asked(test_engine)) == 8, what="all to be in flight")
    first.signal(signal.SIGTERM)
    second = site.start("runworker", "--engine", "ext")
    second.expect("still has a worker")
    assert first.wait(timeout=40) == 0
    assert batch_row(site, made)["result_seq"] == 8
    second.expect("is ready", timeout=10)
    wait_until_final(site, made)
    assert_exactly_once(site, made, 8)
    assert max(asked(test_engine).values()) == 1


def test_an_idle_worker_that_is_killed_does_not_wedge_the_queue(
    site: Site, test_engine: str
) -> None:
    control, _ = start_workers(site, test_engine)
    for pid in family(control)[1:]:
        os.kill(pid, signal.SIGKILL)
    assert control.wait(timeout=10) == 70
    site.start("runworker").expect("ready")
    made = seed(site, "batch", rows=20)
    wait_until_final(site, made)
    assert_exactly_once(site, made, 20)


def test_a_second_worker_of_one_engine_waits_for_the_first(
    site: Site, test_engine: str
) -> None:
    _, first = start_workers(site, test_engine)
    second = site.start("runworker", "--engine", "ext")
    second.expect("still has a worker")
    first.kill()
    second.expect("is ready", timeout=10)
    made = seed(site, "batch", rows=50)
    wait_until_final(site, made)
    assert_exactly_once(site, made, 50)


def test_a_paused_worker_that_wakes_up_writes_nothing(
    site: Site, test_engine: str
) -> None:
    _, engine = start_workers(site, test_engine)
    made = seed(site, "batch", rows=300, delay=0.3)
    wait_until_results(site, made, 30)
    stopped = [engine.pid, *family(engine)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    heir = site.start("runworker", "--engine", "ext")
    heir.expect("is ready", timeout=30)
    wait_until_final(site, made)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    # It finds its token gone and ends; what it had in hand is dropped.
    assert engine.wait(timeout=40) == 70
    assert_exactly_once(site, made, 300)
