# SPDX-License-Identifier: Apache-2.0
"""How long a model's answers are: a distribution that knows of answers cut short.

An answer that was cut off at its limit says that it would have been longer, not how
long. So means over the answers would be too short for requests that allow more; the
estimator of Kaplan and Meier (1958) is made for such samples.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Two classes an octave: 1, 2, 3, 4, 6, 8, 12 …, up to 2 million tokens.
EDGES = (
    1,
    *(edge for power in range(1, 21) for edge in (2**power, 3 * 2 ** (power - 1))),
)


@dataclass(slots=True)
class Class:
    """Answers of about one length: how many, and their tokens."""

    answers: int = 0
    tokens: int = 0


@dataclass(slots=True)
class Lengths:
    """Counts of answers by length: those that ended by themselves, and those cut off."""

    ended: dict[int, Class] = field(default_factory=dict)
    cut: dict[int, Class] = field(default_factory=dict)

    @property
    def answers(self) -> int:
        """How many answers were counted."""
        both = (*self.ended.values(), *self.cut.values())
        return sum(one.answers for one in both)

    def add(self, tokens: int, *, cut: bool) -> None:
        """Count one answer; one without tokens says nothing."""
        if tokens < 1:
            return
        place = bisect.bisect_right(EDGES, tokens) - 1
        _add(self.cut if cut else self.ended, place, 1, tokens)

    def merge(self, others: Iterable[Lengths]) -> Lengths:
        """Count what others counted; returns itself."""
        for other in others:
            for mine, theirs in ((self.ended, other.ended), (self.cut, other.cut)):
                for place, one in theirs.items():
                    _add(mine, place, one.answers, one.tokens)
        return self

    def expected(self, limit: int = 0) -> float:
        """Mean tokens of an answer that may have `limit` of them; 0: as many as it likes.

        Beyond the longest answer that was seen, those that were still going on are
        taken to go on to the limit. 0.0 without any answers and limit.
        """
        # What is cut off at the same length as others end would have gone on.
        points = sorted(
            (one.tokens / one.answers, cut, one.answers)
            for cut, classes in ((False, self.ended), (True, self.cut))
            for one in classes.values()
        )
        left, going_on, total, at = self.answers, 1.0, 0.0, 0.0
        for here, cut, answers in points:
            if limit and here >= limit:
                break
            total += going_on * (here - at)
            at = here
            if not cut:
                going_on *= 1 - answers / left
            left -= answers
        return total + going_on * max(limit - at, 0.0)

    def as_json(self) -> dict[str, dict[str, list[int]]]:
        """For the database."""
        return {
            name: {str(n): [one.answers, one.tokens] for n, one in sorted(held.items())}
            for name, held in (("ended", self.ended), ("cut", self.cut))
        }


def _add(classes: dict[int, Class], place: int, answers: int, tokens: int) -> None:
    one = classes.setdefault(place, Class())
    one.answers += answers
    one.tokens += tokens


def from_json(stored: Mapping[str, Mapping[str, list[int]]]) -> Lengths:
    """What as_json() gave."""
    ended, cut = (
        {int(place): Class(*counts) for place, counts in stored.get(name, {}).items()}
        for name in ("ended", "cut")
    )
    return Lengths(ended, cut)
