# SPDX-License-Identifier: Apache-2.0
"""Whether a ready engine lives: it answers, and its requests get on.

vLLM's API server answers /health while its core stands still; only the counters of
/metrics tell.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from jobs.models import EngineEvent

from . import probe, vllm
from .client import EngineClient

# A living vLLM answers /health within milliseconds.
SILENT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Death:
    """Why the engine has to be ended, in words; and its kind for the timeline."""

    kind: EngineEvent.Kind
    why: str


class Pulse:
    """What was last heard of one start of an engine."""

    def __init__(self) -> None:
        self.gauges: dict[str, Any] = {}
        self._answered = self._moved = time.monotonic()
        self._progress: vllm.Progress | None = None
        self._counted: tuple[float, float] | None = None

    def feel(self, client: EngineClient, *, in_flight: int) -> Death | None:
        """Ask /health and /metrics; a Death when the engine is beyond hope.

        `in_flight` is what the worker has sent: a core that stood still before it
        took any request shows none.
        """
        status = probe.health(client)
        now = time.monotonic()
        if status == 200:
            self._answered = now
        if status >= 500:
            return Death(EngineEvent.Kind.DIED, f"answers /health with {status}")
        if now - self._answered > SILENT_SECONDS:
            why = f"did not answer for {SILENT_SECONDS:.0f} s"
            return Death(EngineEvent.Kind.HUNG, why)
        text = probe.metrics(client)
        progress = vllm.progress(text)
        if text:
            self.gauges = vllm.gauges(text) | {"tokens_s": self._speed(progress, now)}
        return self._standstill(progress, in_flight, now)

    def _speed(self, progress: vllm.Progress | None, now: float) -> float | None:
        """Output tokens a second since the last reading; None before there are two."""
        before, self._counted = self._counted, None
        if progress is None:
            return None
        tokens = progress.marks["generation_tokens_total"]
        self._counted = (now, tokens)
        if before is None or now <= before[0]:
            return None
        return round(max(tokens - before[1], 0.0) / (now - before[0]), 1)

    def _standstill(
        self, progress: vllm.Progress | None, in_flight: int, now: float
    ) -> Death | None:
        """Whether requests run and nothing moved for too long."""
        limit = settings.BATCHSITE_ENGINE_HANG_SECONDS
        if progress is None or progress != self._progress:
            self._moved, self._progress = now, progress
        elif not (progress.requests or in_flight):
            self._moved = now
        elif limit and now - self._moved > limit:
            running = max(int(progress.requests), in_flight)
            why = (
                f"produced no token for {now - self._moved:.0f} s"
                f" while {running} requests run"
            )
            return Death(EngineEvent.Kind.HUNG, why)
        return None
