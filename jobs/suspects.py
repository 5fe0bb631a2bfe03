# SPDX-License-Identifier: Apache-2.0
"""Which of the requests in flight killed an engine: found with few engine starts.

All that were in flight at an unasked death are suspects. They run last and apart, in
parts of a sixteenth of the group that died together, one part after the other: those
that get answers are cleared, and the part that dies is the next group. A start of an
engine costs minutes, another part only its own time; so one of 256 is found after the
deaths of 256, 16, 1 and 1 in flight, where halves would take ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

PARTS = 16
# A request is poison after so many engine deaths with it alone in flight.
DEATHS_ALONE = 2


class Suspicious(Protocol):
    """What decides about a suspect's turn."""

    @property
    def suspect_group(self) -> int:
        """How many were in flight at its last death."""

    @property
    def lonely_deaths(self) -> int:
        """How often it was alone."""


def part_size(group: int) -> int:
    """How many of a group that died together may be in flight together again."""
    return max(1, group // PARTS)


def next_suspect(
    waiting: Sequence[Suspicious], *, part: int = 0, flying: int = 0
) -> int | None:
    """The place in `waiting` of the suspect to start now; None: wait for the part.

    `part` is the group of the `flying` suspects. Small groups first, as they end the
    search. Who died alone goes last of all: before it is called poison, the others
    had their turn, and an engine that dies of anything is not taken for ten culprits.
    """
    if not waiting or (flying and flying >= part_size(part)):
        return None
    fits = [
        place for place, row in enumerate(waiting) if part in (0, row.suspect_group)
    ]
    return min(
        fits,
        key=lambda place: (
            waiting[place].lonely_deaths > 0,
            waiting[place].suspect_group,
        ),
        default=None,
    )
