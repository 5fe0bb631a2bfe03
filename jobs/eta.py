# SPDX-License-Identifier: Apache-2.0
"""When a running batch will have its last answer: pure functions over samples.

The page and the API show the same range. Times are unix seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# The rate is a mean that forgets: what came so long ago weighs 1/e.
FORGETS = 300.0
# What a rate that forgets sooner says is the other end of the range, within limits.
FORGETS_SOON = 60.0
MOST_APART = 2.0
# No range is surer than this, in either direction.
LEAST_SPREAD = 0.1
# Of older samples nothing is left that would count.
LOOKS_BACK = 900.0
# Samples come every 10 to 14 s; after this long without one the rate is falling.
SAMPLE_GAP = 15.0
# Before either is reached an estimate would be a guess.
LEAST_ANSWERS = 20
LEAST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What came of a batch in a stretch of time that ends at `at`.

    `request_seconds`: its requests in flight, added up over that time.
    """

    at: float
    seconds: float
    rows: int
    tokens: int
    request_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests and output tokens a second; `last` is when the newest answers came.

    `latency`: mean seconds that a request is in flight, 0 when not known.
    """

    rows: float = 0.0
    tokens: float = 0.0
    last: float | None = None
    latency: float = 0.0


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a batch.

    `rows` without an answer; `answered` so far with `tokens` of output in all;
    `usual`: output tokens that were expected of a request, None when not known;
    `age`: seconds since the batch began to run.
    """

    rows: int
    answered: int
    tokens: int
    age: float
    usual: float | None = None


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until the last answer, as a range; without one, why in words."""

    low: float | None = None
    high: float | None = None
    reason: str = ""

    @property
    def middle(self) -> float | None:
        """Between both ends."""
        if self.low is None or self.high is None:
            return None
        return (self.low + self.high) / 2


def moving_rate(
    samples: Sequence[Sample], now: float, forgets: float = FORGETS
) -> Rate:
    """The exponentially weighted mean rate since the first of these samples.

    Every moment weighs exp(-its age / forgets), those without samples too: a rate
    falls while nothing comes. Engines that run the batch together overlap in time, so
    the wall clock divides, not the sum of the samples' seconds.
    """
    samples = [one for one in samples if now - LOOKS_BACK < one.at <= now]
    busy = [one.at for one in samples if one.rows]
    if not busy:
        return Rate()
    newest = max(one.at for one in samples)
    end = newest if now - newest < SAMPLE_GAP else now

    def weight(start: float, stop: float) -> float:
        return forgets * (
            math.exp((stop - end) / forgets) - math.exp((start - end) / forgets)
        )

    rows = tokens = flying = 0.0
    for one in samples:
        part = weight(one.at - one.seconds, one.at) / one.seconds
        rows += one.rows * part
        tokens += one.tokens * part
        flying += one.request_seconds * part
    whole = weight(min(one.at - one.seconds for one in samples), end)
    return Rate(rows / whole, tokens / whole, max(busy), flying / rows if rows else 0.0)


def tokens_left(left: Left) -> float:
    """Output tokens still to come: rows left times what an answer has.

    By the batch's own answers once there are enough of them, before by what was
    expected.
    """
    own = left.tokens / left.answered if left.answered else 0.0
    if left.answered >= LEAST_ANSWERS or left.usual is None:
        return left.rows * own
    return left.rows * left.usual


def eta(left: Left, samples: Sequence[Sample], now: float) -> Eta:
    """When the last answer will come, as a range.

    It spans what a rate over minutes and one over the last minute say, is never
    narrower than a tenth to either side, and ends no sooner than one more answer takes.
    """
    if left.rows <= 0:
        return Eta(0.0, 0.0)
    if left.answered < LEAST_ANSWERS and left.age < LEAST_SECONDS:
        return Eta(reason="known after 20 answers, or half a minute")
    slow, quick = (moving_rate(samples, now, f) for f in (FORGETS, FORGETS_SOON))
    tokens = tokens_left(left)
    if slow.tokens and tokens:
        middle, other = tokens / slow.tokens, tokens / max(quick.tokens, 1e-9)
    elif slow.rows:
        middle, other = left.rows / slow.rows, left.rows / max(quick.rows, 1e-9)
    elif left.answered:
        return Eta(reason="no answer came in the last quarter of an hour")
    else:
        return Eta(reason="known once there are answers")
    other = min(max(other, middle / MOST_APART), middle * MOST_APART)
    low = min(middle, other) * (1 - LEAST_SPREAD)
    high = max(middle, other) * (1 + LEAST_SPREAD)
    return Eta(low, max(high, slow.latency))
