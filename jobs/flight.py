# SPDX-License-Identifier: Apache-2.0
"""What the parts of a feeder tell each other: where to submit, what is held, how it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from .claims import Claim, Row
from .recording import ChunkLease
from .scheduling import Work


@dataclass(frozen=True, slots=True)
class Target:
    """The engine as it is now; a new generation is a new target.

    `names` maps public model names to the engine's where these differ, `adapters` those
    of LoRA adapters to their sources; `window` is the most requests in flight.
    """

    engine: int
    generation: int
    window: int
    managed: bool
    provenance: Mapping[str, object]
    names: Mapping[str, str] = field(default_factory=dict)
    adapters: Mapping[str, str] = field(default_factory=dict)
    address: str = ""

    def is_same_server(self, other: Target) -> bool:
        """Whether both mean the same process at the same place."""
        return (self.generation, self.address) == (other.generation, other.address)


@dataclass(slots=True)
class Held:
    """A claimed chunk in work. `flying` rows are at the engine or wait to be tried again."""

    claim: Claim
    queue: deque[Row]
    suspects: deque[Row]
    flying: int = 0
    unanswered: int = 0
    dropped: bool = False
    count_attempt: bool = False


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
    halt: Halt | None
    successes: int
    refused: dict[tuple[int, str], str]
