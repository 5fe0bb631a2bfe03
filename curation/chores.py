# SPDX-License-Identifier: Apache-2.0
"""Regular work of curation, run by control workers."""

from __future__ import annotations

from jobs.chores import Chore

from . import building, completion, feeding, rework

CHORES: tuple[Chore, ...] = (
    Chore("answers to review", 3, feeding.wanted, feeding.run),
    Chore("completed reviews", 10, completion.wanted, completion.run),
    Chore("datasets", 3, building.wanted, building.run),
    Chore("reworked items", 10, rework.wanted, rework.run),
)
