# SPDX-License-Identifier: Apache-2.0
"""What keeps an engine from starting, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobs.models import Engine, ServedModel

from . import install
from .hostrow import HostRow
from .memory import MemoryGate

State = Engine.State
WAITS = "waits for the first batch"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why nothing is started, and after how many seconds to look again."""

    state: Engine.State
    reason: str
    pause: float = 0


def obstacle(
    model: ServedModel | None,
    row: HostRow,
    *,
    clear: Callable[..., bool],
    memory: MemoryGate,
) -> Obstacle | None:
    """What keeps the host from starting the model; None when nothing does.

    `clear` kills what is left of earlier starts, within `timeout` seconds.
    """
    if model is None:
        return Obstacle(State.STOPPED, WAITS)
    if model.state == ServedModel.State.FAILED:
        return Obstacle(
            State.FAILED,
            f"{model} does not load and is given up: {model.state_reason}",
        )
    if not row.may_load(model):
        return Obstacle(
            State.STOPPED,
            f"{model} is wanted, which cannot be loaded here: {row.why_not(model)}",
            pause=1,
        )
    if not install.is_installed():
        return Obstacle(
            State.FAILED,
            f"vLLM is not installed ({install.engine_python()} is missing):"
            " run 'manage.py installengine'",
            pause=10,
        )
    if not clear(timeout=2):
        return Obstacle(State.FAILED, "waits for the last engine's processes to end")
    if held := memory.why_wait():
        return Obstacle(State.STOPPED, f"{model} is next: {held}")
    return None
