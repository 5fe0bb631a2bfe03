# SPDX-License-Identifier: Apache-2.0
"""A feeder that moves only when its test says so."""

from __future__ import annotations

import asyncio
import queue

from jobs.runner import Feeder
from tests.site import wait_for

WORKER = "w1"


class Ticks:
    """A feeder whose keeper and writer run when the test says so."""

    def __init__(self, engine_name: str = "ext") -> None:
        self.feeder = Feeder(engine_name=engine_name, worker=WORKER)
        self.feeder._gatekeeper.start()
        self.feeder._threads[0].start()

    def tick(self) -> None:
        """Look at everything once, and store what was answered."""
        self.feeder._tick()
        self.store()

    def store(self) -> None:
        items = []
        while True:
            try:
                items.append(self.feeder._writer._items.get_nowait())
            except queue.Empty:
                break
        self.feeder._writer._commit(items)

    def end(self) -> None:
        """Cut off what runs; the threads end."""
        feeder = self.feeder
        if not feeder._threads[0].is_alive():
            return
        feeder._gatekeeper.end()
        feeder._call(feeder.submitter.drop)
        feeder._call(feeder.submitter.abort)
        wait_for(lambda: not feeder._call(lambda: feeder.submitter.busy))
        if feeder._client is not None:
            closing = feeder._client.__aexit__(None, None, None)
            asyncio.run_coroutine_threadsafe(closing, feeder._loop).result(10)
        feeder._soon(feeder._loop.stop)
        feeder._threads[0].join(10)
