# SPDX-License-Identifier: Apache-2.0
"""Rules over the answers of a batch, run apart from the engines as results arrive."""

from __future__ import annotations

from .adding import add, definitions_of, give
from .definitions import Definition, read
from .outcome import Outcome
from .reading import (
    FOUND_BY_INDEX,
    Said,
    Tally,
    Wanted,
    checked_seq,
    filter_results,
    flagged_indexes,
    outcomes_for,
    tallies,
    wanted_by,
)

__all__ = [
    "FOUND_BY_INDEX",
    "Definition",
    "Outcome",
    "Said",
    "Tally",
    "Wanted",
    "add",
    "checked_seq",
    "definitions_of",
    "filter_results",
    "flagged_indexes",
    "give",
    "outcomes_for",
    "read",
    "tallies",
    "wanted_by",
]
