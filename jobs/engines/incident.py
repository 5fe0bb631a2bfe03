# SPDX-License-Identifier: Apache-2.0
"""How often an engine may die before a person has to look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Starts of an incident, the one that first died included. One request among 256 that
# kills its engine is found after 4, two are after 7; see jobs/suspects.py.
MOST_STARTS = 8
# Of failed loads; an incident is bounded by its number of starts.
LONGEST_PAUSE = 60.0
LONGEST_PAUSE_OF_INCIDENT = 8.0


@dataclass(slots=True)
class Incident:
    """Ends that nobody asked for, with no stable time between them.

    `deaths` counts the starts that ended so since a ready engine first died; `trouble`
    counts failed loads before that, too, and only makes the pauses longer. `last` is the
    last cause, which a new host does not know.
    """

    deaths: int = 0
    trouble: int = 0
    last: str = ""

    @property
    def exhausted(self) -> bool:
        """Whether no further start is allowed until a person says so."""
        return self.deaths >= MOST_STARTS

    def died(self) -> None:
        """A ready engine ended unasked."""
        self.trouble += 1
        self.deaths += 1

    def load_failed(self) -> None:
        """A start did not become ready.

        Three of them end the model, not the engine; but in an incident each counts.
        """
        self.trouble += 1
        if self.deaths:
            self.deaths += 1

    def over(self) -> None:
        """The engine was stable, or a person lets it go on."""
        self.deaths = self.trouble = 0

    def words(self, log: Path) -> str:
        """Why nothing is started any more, and what to do."""
        return (
            f"given up: it ended {self.deaths} times in a row without being asked."
            f" Find the cause in its history and in {log}, mend it, then take the pause"
            f" away to let it start again. {self.last}"
        ).strip()

    @property
    def pause(self) -> float:
        """Seconds before the next start: 1, 2, 4 … 60; in an incident up to 8."""
        longest = LONGEST_PAUSE_OF_INCIDENT if self.deaths else LONGEST_PAUSE
        return min(longest, 2.0 ** (self.trouble - 1))
