# SPDX-License-Identifier: Apache-2.0
"""Shares, means and differences with what chance leaves open. Plain functions."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist, fmean, stdev

# Of 95 %, two-sided.
Z = NormalDist().inv_cdf(0.975)
# Above so many, the exact test is replaced by its normal limit.
MOST_EXACT = 1000
RESAMPLES = 1000
# Draws in all: many values need fewer resamples for the same width.
MOST_DRAWS = 2_000_000
LEAST_RESAMPLES = 200
# With so many differences all signs are tried.
MOST_SIGNS = 14
# From here on nothing is drawn.
MOST_DRAWN = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds that hold with 95 %."""

    low: float
    high: float


def wilson(successes: float, count: int) -> Interval:
    """The 95 % interval of a share; ValueError without any count.

    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical
    inference. Journal of the American Statistical Association 22(158), 209-212.
    """
    if count <= 0:
        raise ValueError("A share needs a count.")
    share, square = successes / count, Z * Z
    middle = share + square / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    scale = 1 + square / count
    return Interval(
        max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)
    )


def fair_coin(heads: int, count: int) -> float:
    """How likely a fair coin falls at least as unevenly; 0 to 1."""
    fewer = min(heads, count - heads)
    if 2 * fewer == count:
        return 1.0
    if count > MOST_EXACT:
        distance = (count / 2 - fewer - 0.5) / math.sqrt(count / 4)
        return 2 * (1 - NormalDist().cdf(distance))
    tail = sum(math.comb(count, n) for n in range(fewer + 1))
    # Of whole numbers: both are too large for floats.
    return min(float(Fraction(2 * tail, 1 << count)), 1.0)


def mcnemar(only_first: int, only_second: int) -> float:
    """How likely two shares of the same items differ so much by chance; 0 to 1.

    The exact test of the items in which only one of both succeeded. McNemar, Q. (1947).
    Note on the sampling error of the difference between correlated proportions or
    percentages. Psychometrika 12, 153-157.
    """
    count = only_first + only_second
    return fair_coin(only_first, count) if count else 1.0


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over `count` values; no interval: too few to tell."""

    mean: float
    count: int
    interval: Interval | None


def mean_of(values: Sequence[float]) -> Mean:
    """The mean with its 95 % interval; ValueError without a value.

    Of values that are all 0 or 1 Wilson's interval of the share; of others Student's
    (1908). The probable error of a mean. Biometrika 6, 1-25.
    """
    count = len(values)
    if not count:
        raise ValueError("A mean needs a value.")
    mean = fmean(values)
    if all(value in (0, 1) for value in values):
        return Mean(mean, count, wilson(sum(values), count))
    return Mean(mean, count, student(values))


def student(values: Sequence[float]) -> Interval | None:
    """Student's 95 % interval of a mean; None for fewer than two values."""
    count = len(values)
    if count < 2:
        return None
    mean = fmean(values)
    half = student_t(count - 1) * stdev(values) / math.sqrt(count)
    return Interval(mean - half, mean + half)


def student_t(freedom: int) -> float:
    """The 97.5 % quantile of Student's t with so many degrees of freedom.

    Hill, G. W. (1970). Algorithm 396: Student's t-quantiles. Communications of the ACM
    13(10), 619-620; two-sided, to about 6 digits.
    """
    tail, n = 0.05, freedom
    if n == 1:
        return 1 / math.tan(tail * math.pi / 2)
    if n == 2:
        return math.sqrt(2 / (tail * (2 - tail)) - 2)
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * tail) ** (2 / n)
    if y > 0.05 + a:
        x = -Z
        y = x * x
        if n < 5:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = (
            (
                1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3)
                + 0.5 / (n + 4)
            )
            * y
            - 1
        ) * (n + 1) / (n + 2) + 1 / y
    return math.sqrt(n * y)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which that share lies, 0 to 1, of values in ascending order.

    Between two values by the straight line: Hyndman, R. J. & Fan, Y. (1996). Sample
    quantiles in statistical packages. The American Statistician 50, 361-365, type 7.
    """
    if not ordered:
        raise ValueError("A percentile needs a value.")
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@dataclass(frozen=True, slots=True)
class Difference:
    """Of the same items, the second minus the first: the mean, and whether it may be
    chance (`p`, two-sided)."""

    mean: float
    count: int
    interval: Interval
    p: float

    @property
    def is_significant(self) -> bool:
        """Whether chance alone would do so less than once in twenty times."""
        return self.p < 0.05


def paired(
    first: Sequence[float], second: Sequence[float], *, seed: int = 0
) -> Difference:
    """How two differ over the same items; ValueError without an item.

    The interval is the percentile bootstrap over items: Efron, B. & Tibshirani, R.
    (1993). An Introduction to the Bootstrap, chapter 13. `p` is McNemar's exact test
    where all values are 0 or 1, else that of the signs' randomization. Of more than
    MOST_DRAWN items both are by the normal limit, which drawing then only repeats.
    """
    pairs = [b - a for a, b in zip(first, second, strict=True)]
    if not pairs:
        raise ValueError("A difference needs an item.")
    count, mean = len(pairs), fmean(pairs)
    are_shares = all(value in (0, 1) for value in (*first, *second))
    if count > MOST_DRAWN:
        error = stdev(pairs) / math.sqrt(count)
        interval = Interval(mean - Z * error, mean + Z * error)
        if are_shares:
            p = mcnemar(pairs.count(-1), pairs.count(1))
        else:
            p = 2 * NormalDist().cdf(-abs(mean) / error) if error else float(not mean)
        return Difference(mean, count, interval, p)
    draw = random.Random(seed)  # noqa: S311 - statistics, no secrets
    resamples = max(min(RESAMPLES, MOST_DRAWS // count), LEAST_RESAMPLES)
    means = sorted(fmean(draw.choices(pairs, k=count)) for _ in range(resamples))
    interval = Interval(percentile(means, 0.025), percentile(means, 0.975))
    if are_shares:
        p = mcnemar(pairs.count(-1), pairs.count(1))
    else:
        p = _by_signs(pairs, draw, resamples)
    return Difference(mean, count, interval, p)


def _by_signs(pairs: Sequence[float], draw: random.Random, resamples: int) -> float:
    """How often a sum is as far from 0 when each difference may have either sign.

    Exact for few items, by drawing for many. Edgington, E. S. & Onghena, P. (2007).
    Randomization Tests (4th ed.), chapter 5. Items without a difference say nothing.
    """
    moved = [one for one in pairs if one]
    # Of floats that are added in another order.
    seen = abs(sum(moved)) * (1 - 1e-12)
    if len(moved) <= MOST_SIGNS:
        sums = [0.0]
        for one in moved:
            sums = [found + part for found in sums for part in (one, -one)]
        return sum(abs(found) >= seen for found in sums) / len(sums)
    far = 0
    for _ in range(resamples):
        signs = draw.getrandbits(len(moved))
        found = 0.0
        for one in moved:
            found += one if signs & 1 else -one
            signs >>= 1
        far += abs(found) >= seen
    # A share of none of so many draws is not known to be none.
    return (far + 1) / (resamples + 1)
