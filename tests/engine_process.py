# SPDX-License-Identifier: Apache-2.0
"""The test engine as a fixture: `test_engine` is its root URL."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.processes import child_setup

ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def engine_process(*arguments: str, port: int = 0) -> Iterator[tuple[str, int]]:
    """Start the test engine on a free port; gives its root URL and pid, and ends it."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.engine_server"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--served-model-name", "tiny"),
            *arguments,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=child_setup(signal.SIGKILL),
    ) as popen:
        assert popen.stdout is not None
        try:
            for line in popen.stdout:
                if "listening on " in line:
                    break
            else:
                raise AssertionError("the test engine did not start")
            yield line.split("listening on ")[1].split()[0], popen.pid
        finally:
            popen.kill()


@pytest.fixture
def test_engine() -> Iterator[str]:
    """The root URL of a fresh test engine that serves the model `tiny`."""
    with engine_process() as (url, _):
        yield url


def counts(url: str) -> dict[str, Any]:
    """How many requests the engine got, in all and by key."""
    with urllib.request.urlopen(f"{url}/test/counts", timeout=10) as r:
        found: dict[str, Any] = json.load(r)
        return found
