# SPDX-License-Identifier: Apache-2.0
"""What stacked pictures share: which series have a colour, and where the scale ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDE, HIGH = 720, 150
# More series than colours are summed up as others.
COLOURS = 5
OTHERS = "others"


def ranked(made: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """The series from the largest on, from the bottom up; the rest summed up."""
    names = sorted(made, key=lambda name: -sum(made[name]))
    kept = {name: list(made[name]) for name in names[:COLOURS]}
    if rest := names[COLOURS:]:
        kept[OTHERS] = [
            sum(some) for some in zip(*(made[n] for n in rest), strict=True)
        ]
    return kept


def peak(kept: Mapping[str, Sequence[float]]) -> float:
    """The highest that the stack becomes."""
    return max((sum(some) for some in zip(*kept.values(), strict=True)), default=0.0)
