# SPDX-License-Identifier: Apache-2.0
"""A swap with its real processes, and what of it is not loading."""

from __future__ import annotations

import json

import pytest

from tests.faults.checks import assert_exactly_once, seed, wait_until_final
from tests.site import DATABASES, Site

from .test_runengine_processes import add_model, started

pytestmark = pytest.mark.slow
ASK = """
import json
from jobs.engines.timeline import recorded_swaps
print(json.dumps([[s.old, s.new, s.overhead, s.seconds] for s in recorded_swaps("gpu0")]))
"""


@pytest.mark.parametrize("site", DATABASES, indirect=True)
def test_swaps_cost_little_beyond_the_load_and_redo_nothing(site: Site) -> None:
    for name in ("first", "second"):
        add_model(site, name, "--load-seconds", "1")
    started(site)
    site.start("runworker", "--engine", "gpu0").expect("ready")
    site.start("runworker").expect("ready")
    for name in ("first", "second", "first"):
        made = seed(site, "batch", rows=20, model=name, delay=0.1)
        wait_until_final(site, made)
        assert_exactly_once(site, made, 20)
    swaps = json.loads(site.python(ASK).splitlines()[-1])
    assert [(old, new) for old, new, *_ in swaps] == [
        ("first", "second"),
        ("second", "first"),
    ]
    for _, _, overhead, seconds in swaps:
        assert overhead == pytest.approx(
            seconds["draining"] + seconds["stopping"] + seconds["stopped"]
        )
        assert overhead < 3, seconds
    assert site.query("SELECT id FROM jobs_suspect") == []
