# SPDX-License-Identifier: Apache-2.0
"""What people asked of an engine last, as its card says it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from jobs.models import Engine
from jobs.templatetags.figures import printable


@dataclass(frozen=True)
class Asked:
    """`paused by owner@example.com`, when that was, and why."""

    words: str
    at: datetime
    reason: str


def asked(engine: Engine) -> Asked | None:
    """What still holds of what people asked last; None for what is over."""
    told = engine.asked
    verb, at = told.get("verb"), told.get("at")
    if not isinstance(at, int | float) or not _holds(engine, verb):
        return None
    word = {"pause": "paused", "drain": "drained"}.get(str(verb), "restart asked for")
    by = printable(told.get("by") or "") or "a command"
    reason = printable(told.get("reason") or "")
    return Asked(f"{word} by {by}", datetime.fromtimestamp(at, tz=UTC), reason)


def _holds(engine: Engine, verb: object) -> bool:
    if verb == "restart":
        return engine.restart_of == engine.generation and engine.generation > 0
    return engine.paused and verb in ("pause", "drain")
