# SPDX-License-Identifier: Apache-2.0
"""`manage.py up` with several engines: models beside each other, swaps, a death."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.faults.checks import (
    assert_exactly_once,
    batch_row,
    seed,
    wait_until_final,
    wait_until_results,
)
from tests.postgres import free_port
from tests.site import Site, wait_for

from .client import Running, start_up

pytestmark = pytest.mark.slow


def add_model(site: Site, name: str, engine: str) -> None:
    """A model of one engine that runs four requests at once."""
    arguments = ("--engine-args", "--max-num-seqs 4")
    site.run(
        "addmodel", name, "--source", f"org/{name}", "--engine", engine, *arguments
    )


@pytest.fixture
def running(site: Site) -> Running:
    """Two engines; `one` and `other` belong to gpu0, `two` to gpu1."""
    made = start_up(site, "--engine", "gpu0", "--engine", "gpu1=")
    wait_for(lambda: site.engine("gpu0") and site.engine("gpu1"), what="both engines")
    add_model(site, "one", "gpu0")
    add_model(site, "other", "gpu0")
    add_model(site, "two", "gpu1")
    return made


def times(site: Site, public_id: str) -> tuple[Any, Any]:
    """When the first and the last of the batch's results were stored."""
    (row,) = site.query(
        "SELECT MIN(created_at) AS first, MAX(created_at) AS last FROM jobs_result"
        " WHERE batch_id = %s",
        batch_row(site, public_id)["id"],
    )
    return row["first"], row["last"]


def test_two_models_run_beside_each_other_without_a_swap(running: Running) -> None:
    site = running.site
    # Longer than a busy machine takes to start the second engine.
    batches = [
        seed(site, "batch", rows=400, model=m, delay=0.2) for m in ("one", "two")
    ]
    for batch in batches:
        wait_until_final(site, batch, timeout=120)
        assert_exactly_once(site, batch, 400)
    (first, last), (begin, end) = (times(site, batch) for batch in batches)
    assert first < end
    assert begin < last
    assert [site.engine(name)["generation"] for name in ("gpu0", "gpu1")] == [1, 1]


def test_one_engine_swaps_and_dies_while_the_other_works(running: Running) -> None:
    site = running.site
    # Minutes of work, so that there is some at every moment of the test.
    beside = seed(site, "batch", rows=2000, model="two", delay=0.5)

    def goes_on() -> None:
        seen = batch_row(site, beside)["result_seq"]
        wait_until_results(site, beside, seen + 5)

    goes_on()
    for name, generation in (("one", 1), ("other", 2)):
        batch = seed(site, "batch", rows=20, model=name)
        wait_until_final(site, batch, timeout=120)
        assert_exactly_once(site, batch, 20)
        assert site.engine("gpu0")["generation"] == generation
        goes_on()
    last = seed(site, "batch", rows=200, model="other", delay=0.2)
    wait_until_results(site, last, 1)
    (host,) = [
        pid
        for pid, command in site.left_over().items()
        if "runengine --name gpu0" in command
    ]
    # With its host goes its engine; `up` starts both again.
    os.kill(host, signal.SIGKILL)
    goes_on()
    wait_until_final(site, last, timeout=120)
    assert_exactly_once(site, last, 200)
    goes_on()
    assert site.engine("gpu0")["generation"] == 3
    assert site.engine("gpu1")["generation"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "a", "--no-engine"], "one of --engine, --name and --no-engine"),
        (["--engine", "a", "--name", "b"], "one of --engine, --name and --no-engine"),
        (["--engine", "a=0", "--engine", "a=1"], "names 'a' twice"),
        (["--engine", "=0"], "'' is no engine name"),
    ],
)
def test_engines_that_cannot_be_are_refused(
    site: Site, arguments: list[str], words: str
) -> None:
    done = site.run("up", "--port", str(free_port()), *arguments, check=False)
    assert done.returncode == 1
    assert words in done.stderr


def test_a_gpu_that_is_given_twice_is_said(site: Site) -> None:
    arguments = ("--engine", "a=0,1", "--engine", "b=1", "--engine", "c=2")
    up = site.start("up", "--port", str(free_port()), *arguments)
    up.expect("GPU 1 is given to a and b, which may need more memory than it has")
    given = {"a": "0,1", "b": "1", "c": "2"}
    wait_for(
        lambda: given == {name: site.engine(name).get("gpu_ids") for name in given},
        what="the engines with their GPUs",
    )
    assert up.stop() == 0
