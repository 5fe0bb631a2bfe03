# SPDX-License-Identifier: Apache-2.0
"""Two `runengine` of one name: one engine at any time, whoever was paused meanwhile."""

from __future__ import annotations

import os
import signal

import pytest

from jobs import processes
from tests.site import DATABASES, Process, Site, wait_for

from .test_runengine_processes import (
    add_model,
    api_server,
    models_served,
    started,
    state,
    want,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("site", DATABASES, indirect=True),
]


def engines(site: Site) -> list[int]:
    """Living API servers of the site."""
    found = site.left_over().items()
    return [pid for pid, command in found if "tests.engine_server" in command]


def second_host(site: Site) -> Process:
    """Another host of the same name, which takes over when it may."""
    return site.start("runengine", "--name", "gpu0")


def assert_ends_without_harm(site: Site, late: Process, heir: Process) -> None:
    """The paused host wakes up and ends; the heir's engine never notices."""
    before = site.engine("gpu0")
    server = api_server(site)
    late.signal(signal.SIGCONT)
    assert late.wait(timeout=30) == 1
    assert "another host has taken over engine gpu0; this one stops" in late.log()
    assert engines(site) == [server]
    row = site.engine("gpu0")
    assert (row["state"], row["generation"]) == ("ready", before["generation"])
    assert row["host_token"] == before["host_token"]
    assert models_served(row) == ["tiny"]
    # The heir's engine is still on record: what a double kill leaves is found.
    os.kill(heir.pid, signal.SIGSTOP)
    os.kill(server, signal.SIGKILL)
    heir.kill()
    assert len(site.left_over()) == 1
    started(site)
    state(site, "ready", generation=before["generation"] + 1)
    assert processes.session_members(server) == []


def test_a_host_that_was_paused_with_its_engine_finds_it_gone(site: Site) -> None:
    tiny = add_model(site, "tiny")
    first = started(site)
    want(site, tiny)
    state(site, "ready")
    old = api_server(site)
    first.signal(signal.SIGSTOP)
    heir = second_host(site)
    heir.expect("Waiting")
    # The token is free 15 s after the last sign of life, and not before.
    heir.expect("runs", timeout=40)
    row = state(site, "ready", generation=2)
    assert row["generation"] == 2
    # Two engines on the same GPUs would not fit: the first one's has made room.
    assert processes.session_members(old) == []
    assert engines(site) == [api_server(site)]
    assert_ends_without_harm(site, first, heir)


def test_a_host_that_was_paused_before_a_start_leaves_the_heirs_engine_alone(
    site: Site,
) -> None:
    tiny = add_model(site, "tiny")
    first = started(site)
    want(site, tiny)
    for generation in (1, 2, 3):
        state(site, "ready", generation=generation)
        os.kill(api_server(site), signal.SIGKILL)
        wait_for(lambda: site.engine("gpu0")["state"] == "failed")
    # It waits some seconds before the next start, which it makes when it wakes up.
    first.signal(signal.SIGSTOP)
    heir = second_host(site)
    heir.expect("runs", timeout=40)
    state(site, "ready", generation=4)
    assert_ends_without_harm(site, first, heir)
