# SPDX-License-Identifier: Apache-2.0
"""The `attend` task: keeps a resident feeder at work in a django-q2 worker process."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from .models import Engine
from .runner import Feeder
from .tasks import poke_engine

logger = logging.getLogger(__name__)
ATTEND_SECONDS = 60
IDLE_SECONDS = 10

_resident: Feeder | None = None
# Set by runworker before the cluster forks.
worker_token = ""
drain_requested: Callable[[], bool] = lambda: False  # noqa: E731 - replaced by runworker
drain_seconds: Callable[[], float] = lambda: 5.0  # noqa: E731 - replaced by runworker
report_progress: Callable[[float], None] = lambda at: None  # noqa: E731 - replaced by runworker


def attend_engine(engine_name: str) -> dict[str, Any]:
    """Keep the resident feeder at work for a minute; its figures.

    Returns early when idle or asked to drain. While there is work it enqueues its own
    successor, and the feeder's threads go on in between.
    """
    global _resident
    if drain_requested():
        return {"engine": engine_name, "state": "draining"}
    feeder = _resident
    if feeder is None:
        feeder = Feeder(engine_name=engine_name, worker=worker_token)
        feeder.start()
        _resident = feeder
    state = _watch(feeder)
    figures = {**feeder.figures(), "state": state}
    if state != "working":
        _resident = None
        seconds = drain_seconds() if state == "draining" else 5.0
        feeder.drain(seconds)
        report_progress(0.0)
    else:
        poke_engine(Engine.objects.get(name=engine_name))
    return figures


def _watch(feeder: Feeder) -> str:
    """Wait until the minute is over ("working"), it is "idle", or to be "draining"."""
    deadline = time.monotonic() + ATTEND_SECONDS
    while time.monotonic() < deadline:
        if feeder.failed:
            logger.critical("the feeder failed: %s", feeder.failed)
            os._exit(70)
        if drain_requested():
            return "draining"
        report_progress(feeder.progress)
        idle = feeder.idle_since
        if idle is not None and time.monotonic() - idle > IDLE_SECONDS:
            return "idle"
        time.sleep(0.1)
    return "working"
