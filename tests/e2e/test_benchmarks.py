# SPDX-License-Identifier: Apache-2.0
"""A benchmark on a running site, overtaken by real work and gone on with after kills."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from jobs.processes import children
from tests.faults.checks import seed
from tests.site import DATABASES, Site, wait_for

from .client import Running, start_up

pytestmark = pytest.mark.slow
ITEMS = 400


def call(running: Running, path: str, body: Any = None) -> Any:
    """The answer to a call under /v1/benchmarks/: POST with a body, else GET."""
    if body is None:
        return running.client.get(f"/benchmarks{path}", cast_to=object)
    return running.client.post(f"/benchmarks{path}", cast_to=object, body=body)


def items() -> bytes:
    """Each takes the engine a while, and every fourth is answered rightly by nobody."""
    rows = [
        {
            "custom_id": f"item-{n}",
            "body": {
                "messages": [{"role": "user", "content": f"say {n}"}],
                "test": {"key": f"item-{n}", "delay": 0.3},
            },
            "metrics": [
                {
                    "kind": "regex",
                    "name": "good",
                    "params": {"pattern": "." if n % 4 else "never said"},
                }
            ],
            "tags": ["odd" if n % 2 else "even"],
        }
        for n in range(ITEMS)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize("site", DATABASES, indirect=True)
def test_real_work_overtakes_a_benchmark_that_survives_kills(
    site: Site, test_engine: str
) -> None:
    running: Running = start_up(site, "--no-engine")
    seed(site, "external_engine", url=test_engine, name="first", window=16)
    running.up.expect("Worker of engine first is ready.", timeout=60)
    file = running.client.files.create(
        file=("items.jsonl", items()), purpose="user_data"
    )
    suite = call(running, "/suites", {"name": "Speech", "file_id": file.id})
    asked = {
        "suite_id": suite["id"],
        "models": ["tiny"],
        "variants": [{"name": "one"}, {"name": "two", "body": {"max_tokens": 8}}],
    }
    run = call(running, "/runs", asked)
    path = f"/runs/{run['id']}"

    def answered() -> int:
        sql = "SELECT COUNT(*) AS n FROM jobs_result"
        return int(site.query(sql)[0]["n"])

    wait_for(lambda: answered() > 40, timeout=60, what="the benchmark's first answers")
    lines = [
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "tiny",
                "messages": [{"role": "user", "content": "say hello"}],
            },
        }
        for n in range(5)
    ]
    real = running.submit(b"".join(json.dumps(x).encode() + b"\n" for x in lines))
    assert running.wait(real).status == "completed"
    assert call(running, path)["state"] == "running"
    assert answered() < ITEMS

    # Those who start and score the cells are killed; `up` starts others.
    for pid in children(running.up.pid):
        with open(f"/proc/{pid}/cmdline") as command:  # noqa: PTH123 - a kernel file
            if "runworker" in command.read():
                os.kill(pid, signal.SIGKILL)

    def done() -> Any:
        found = call(running, path)
        return found if found["state"] == "done" else None

    found = wait_for(done, timeout=180, what="the end of the run")
    for cell in found["cells"]:
        figures = cell["figures"]
        assert (figures["items"], figures["answered"]) == (ITEMS, ITEMS)
        assert figures["metrics"]["good"]["mean"] == 0.75
        assert figures["tags"]["odd"]["good"]["mean"] == 1
    scored = site.query("SELECT COUNT(*) AS n FROM benchmarks_score")
    assert scored[0]["n"] == 2 * ITEMS
    (other,) = call(running, f"{path}/comparison")["others"]
    assert other["compared"]["verdict"] == "no significant difference"
