# SPDX-License-Identifier: Apache-2.0
"""A managed engine's change of its model, as its feeder asks for it and waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings

from . import engine_side
from .engine_side import Survey
from .flight import Snapshot
from .models import Engine
from .submitter import Submitter
from .turns import Turns


class Swaps:
    """Lives as long as its feeder; all of it is called by the keeper.

    `call` runs a function in the submitter's loop and gives what it returns.
    """

    def __init__(
        self, submitter: Submitter, call: Callable[[Callable[[], Any]], Any]
    ) -> None:
        self._submitter = submitter
        self._call = call
        self._turns = Turns()
        # The generation that was asked to make room, and until when it is waited for.
        self._leaving: tuple[int, float] | None = None

    def asked(self, generation: int) -> bool:
        """Whether that start of the engine was asked to make room for another model."""
        return self._leaving is not None and self._leaving[0] == generation

    def is_on_the_way(self, engine: Engine, seen: Survey, snapshot: Snapshot) -> bool:
        """Ask for another model when the queue wants one; True while it is coming."""
        self._turns.note(
            [*seen.waiting, *snapshot.works],
            loaded=engine.loaded_model.name if engine.loaded_model else None,
            load=snapshot.load,
            now=time.time(),
        )
        if engine_side.is_swapping(engine, seen):
            self._cut_off(engine)
            return True
        if self.asked(engine.generation):
            # The wish was taken back.
            self._leaving = None
        wanted = engine_side.model_to_load(engine, seen, snapshot.works, self._turns)
        if wanted is None:
            return engine.state != Engine.State.READY
        self._call(self._submitter.drop)
        left = self._call(lambda: self._submitter.in_flight)
        limit = time.monotonic() + settings.BATCHSITE_DRAIN_SECONDS
        if engine_side.want(engine, wanted, in_flight=left):
            self._leaving = (engine.generation, limit)
        return True

    def _cut_off(self, engine: Engine) -> None:
        """End what is still in flight when the engine should long hold another model.

        Done here and not by the host, whose stop would look like a death.
        """
        if (
            self._leaving is not None
            and self._leaving[0] == engine.generation
            and time.monotonic() > self._leaving[1]
        ):
            self._call(self._submitter.abort)
