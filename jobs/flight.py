# SPDX-License-Identifier: Apache-2.0
"""What the parts of a feeder tell each other: where to submit, what is held, how it is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from .claims import Claim, Row
from .recording import ChunkLease
from .rewriting import Rewrite
from .scheduling import Work


@dataclass(frozen=True, slots=True)
class Target:
    """The engine as it is now; a new generation is a new target.

    `names` maps public model names to the engine's where these differ, `adapters` those
    of LoRA adapters to their sources; `window` is the most requests in flight;
    `timeouts` are seconds for one try, by public model name, of those models that have
    a limit of their own.
    """

    engine: int
    generation: int
    window: int
    managed: bool
    provenance: Mapping[str, object]
    names: Mapping[str, str] = field(default_factory=dict)
    adapters: Mapping[str, str] = field(default_factory=dict)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    address: str = ""

    def is_same_server(self, other: Target) -> bool:
        """Whether both mean the same process at the same place."""
        return (self.generation, self.address) == (other.generation, other.address)

    def body_of(self, model: str, body: str) -> bytes:
        """The stored body; rewritten only when the engine calls the model otherwise."""
        name = self.names.get(model, model)
        return (
            body if name == model else Rewrite({"model": name}).apply(body)
        ).encode()

    def provenance_of(self, model: str) -> dict[str, object]:
        """Where an answer of that model is from, and what of its request was changed."""
        found = dict(self.provenance)
        if model in self.adapters:
            found["adapter_source"] = self.adapters[model]
        if self.names.get(model, model) != model:
            found["rewritten"] = ["model"]
        return found


class Place:
    """What a row waits for whose pause between two tries is over: a place in the window."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def answer(self, *, granted: bool) -> bool:
        """Say whether the row has it; returns whether it was there to take it."""
        if self._answer.done():
            return False
        self._answer.set_result(granted)
        return granted

    async def wait(self) -> bool:
        """Wait for the answer."""
        return await self._answer

    @property
    def granted(self) -> bool:
        """Whether the row has it, also when it was cut off at that moment."""
        return (
            self._answer.done()
            and not self._answer.cancelled()
            and self._answer.result()
        )


@dataclass(slots=True)
class Held:
    """A claimed chunk in work. `flying` rows are at the engine or wait to be tried again.

    `due` are the places that those of the latter wait for whose pause is over.
    """

    claim: Claim
    queue: deque[Row]
    suspects: deque[Row]
    due: deque[Place] = field(default_factory=deque)
    flying: int = 0
    unanswered: int = 0
    dropped: bool = False
    count_attempt: bool = False

    def refuse_due(self) -> None:
        """Tell rows that wait for their next try that there is none."""
        while self.due:
            self.due.popleft().answer(granted=False)


@dataclass(frozen=True, slots=True)
class Halt:
    """Why nothing is submitted: the engine died, or refuses; `lost` rows were in flight."""

    reason: str
    died: bool
    lost: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the keeper needs to know, read in the loop's thread.

    `queued` counts the rows that were not sent yet, by their work. `refused` says why
    the engine has no place for a batch's requests to a model.
    """

    leases: list[ChunkLease]
    works: list[Work]
    queued: dict[Work, int]
    queued_bytes: int
    in_flight: int
    window: int
    load: dict[int, float]
    spent: dict[int, float]
    halt: Halt | None
    successes: int
    refused: dict[tuple[int, str], str]
