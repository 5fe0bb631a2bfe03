# SPDX-License-Identifier: Apache-2.0
"""How far people agree: plain functions of their answers, without a database.

A *unit* is what was judged by several people: a mapping of each one's name to the value
that he gave. Who gave none is left out. Every function says None where no number can be
told: too few units with two answers, or answers that are all the same.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from jobs.statistics import Interval

Value = Hashable
Unit = Mapping[str, Value]
# The values of one unit, sorted: what alpha depends on.
Pattern = tuple[Value, ...]
RESAMPLES = 1000
# Draws in all: a large queue needs fewer resamples for the same width.
MOST_DRAWS = 2_000_000
LEAST_RESAMPLES = 100
# From here on a normal number stands in for a Poisson one.
NORMAL_FROM = 30


class Level(StrEnum):
    """What the distance of two answers means."""

    NOMINAL = "nominal"
    ORDINAL = "ordinal"
    INTERVAL = "interval"


class Weights(StrEnum):
    """How much a disagreement of two ordered answers counts."""

    NONE = "none"
    LINEAR = "linear"
    QUADRATIC = "quadratic"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two people over the units that both judged; kappa is None where it has no value."""

    first: str
    second: str
    units: int
    percent: float
    kappa: float | None


def overlapping(units: Iterable[Unit]) -> list[Unit]:
    """Those with two answers or more: all that agreement can be told from."""
    return [unit for unit in units if len(unit) >= 2]


def percent_agreement(units: Iterable[Unit]) -> float | None:
    """The share of equal pairs of answers, each unit with the same weight; 0 to 1."""
    shares = [_equal_pairs(list(unit.values())) for unit in overlapping(units)]
    return sum(shares) / len(shares) if shares else None


def _equal_pairs(values: Sequence[Value]) -> float:
    equal = sum(n * (n - 1) for n in Counter(values).values())
    return equal / (len(values) * (len(values) - 1))


def cohen_kappa(
    pairs: Sequence[tuple[Value, Value]],
    *,
    weights: Weights = Weights.NONE,
    scale: Sequence[Value] = (),
) -> float | None:
    """Agreement of two people beyond chance; 1 is perfect, 0 is chance.

    `pairs` are the answers of both to each unit. With `weights` the answers must stand
    on `scale`, in its order; without a scale, in their own.

    Cohen, J. (1960). A coefficient of agreement for nominal scales. Educational and
    Psychological Measurement 20(1), 37-46. Weighted: Cohen, J. (1968). Weighted kappa.
    Psychological Bulletin 70(4), 213-220.
    """
    if not pairs:
        return None
    values = list(scale) or _in_order({v for pair in pairs for v in pair})
    place = {value: n for n, value in enumerate(values)}
    steps = max(len(values) - 1, 1)

    def cost(first: Value, second: Value) -> float:
        if weights == Weights.NONE:
            return float(first != second)
        distance = abs(place[first] - place[second]) / steps
        return distance**2 if weights == Weights.QUADRATIC else distance

    count = len(pairs)
    left, right = (Counter(pair[n] for pair in pairs) for n in (0, 1))
    seen = sum(cost(*pair) * n for pair, n in Counter(pairs).items()) / count
    chance = (
        sum(cost(a, b) * left[a] * right[b] for a in left for b in right) / count**2
    )
    return 1 - seen / chance if chance else None


def fleiss_kappa(units: Iterable[Unit]) -> float | None:
    """Agreement of several people beyond chance, each unit judged by equally many.

    They need not be the same people. None also where the numbers of answers differ:
    Krippendorff's alpha is for that.

    Fleiss, J. L. (1971). Measuring nominal scale agreement among many raters.
    Psychological Bulletin 76(5), 378-382.
    """
    found = overlapping(units)
    if not found or len({len(unit) for unit in found}) != 1:
        return None
    values = [list(unit.values()) for unit in found]
    seen = sum(_equal_pairs(given) for given in values) / len(values)
    counts = Counter(value for given in values for value in given)
    chance = sum((n / counts.total()) ** 2 for n in counts.values())
    return (seen - chance) / (1 - chance) if chance < 1 else None


def krippendorff_alpha(units: Iterable[Unit], *, level: Level) -> float | None:
    """Agreement beyond chance of any number of people, answers may be missing.

    1 is perfect, 0 is chance, below 0 is worse. With `ordinal` and `interval` the
    values are numbers.

    Krippendorff, K. (2019). Content Analysis (4th ed.), chapter 12; the computation is
    that of Krippendorff, K. (2011). Computing Krippendorff's alpha-reliability.
    """
    return _alpha(patterns(units), level)


def patterns(units: Iterable[Unit]) -> Counter[Pattern]:
    """How often each combination of values occurs, of units with two or more."""
    return Counter(tuple(_in_order(unit.values())) for unit in units if len(unit) >= 2)


def _alpha(found: Mapping[Pattern, int], level: Level) -> float | None:
    coincidences: defaultdict[tuple[Value, Value], float] = defaultdict(float)
    for pattern, times in found.items():
        share = times / (len(pattern) - 1)
        counts = Counter(pattern)
        for a, n in counts.items():
            for b, m in counts.items():
                # A value makes no pair with itself.
                coincidences[a, b] += share * n * (m - (a == b))
    totals: defaultdict[Value, float] = defaultdict(float)
    for (a, _), weight in coincidences.items():
        totals[a] += weight
    count = sum(totals.values())
    distance = _distance(totals, level)
    seen = sum(weight * distance(*pair) for pair, weight in coincidences.items())
    chance = sum(totals[a] * totals[b] * distance(a, b) for a in totals for b in totals)
    return 1 - (count - 1) * seen / chance if chance else None


def _distance(
    totals: Mapping[Value, float], level: Level
) -> Callable[[Value, Value], float]:
    """The squared difference of two values at that level of measurement."""
    if level == Level.NOMINAL:
        return lambda a, b: float(a != b)
    if level == Level.INTERVAL:
        return lambda a, b: (float(a) - float(b)) ** 2  # type: ignore[arg-type]  # numbers at this level
    below: dict[Value, float] = {}
    reached = 0.0
    for value in _in_order(totals):
        # Up to the middle of those that share the rank.
        below[value] = reached + totals[value] / 2
        reached += totals[value]
    return lambda a, b: (below[a] - below[b]) ** 2


def bootstrap_alpha(
    units: Iterable[Unit], *, level: Level, seed: int = 0
) -> Interval | None:
    """The 95 % interval of alpha: percentiles over units drawn anew with replacement.

    The same units and `seed` give the same interval. None with fewer than two units,
    or where most draws have no alpha.

    Efron, B. & Tibshirani, R. (1993). An Introduction to the Bootstrap, chapter 13. Of
    more units than MOST_DRAWS allows, each pattern is drawn by itself: Chamandy, N. et
    al. (2012). Estimating Uncertainty for Massive Data Streams.
    """
    found = patterns(units)
    count = found.total()
    if count < 2:
        return None
    kinds, weights = list(found), list(found.values())
    draw = random.Random(seed)  # noqa: S311 - statistics, no secrets
    resamples = max(min(RESAMPLES, MOST_DRAWS // count), LEAST_RESAMPLES)

    def drawn() -> Counter[Pattern]:
        if count * LEAST_RESAMPLES <= MOST_DRAWS:
            return Counter(draw.choices(kinds, weights, k=count))
        return Counter({kind: _poisson(draw, n) for kind, n in found.items()})

    alphas = [
        alpha for _ in range(resamples) if (alpha := _alpha(drawn(), level)) is not None
    ]
    if len(alphas) < resamples / 2:
        return None
    return percentiles(alphas)


def _poisson(draw: random.Random, mean: int) -> int:
    """A Poisson number: by Knuth's products where it is small, else the nearest normal."""
    if mean > NORMAL_FROM:
        return max(0, round(draw.gauss(mean, math.sqrt(mean))))
    end, product, count = math.exp(-mean), draw.random(), 0
    while product > end:
        product *= draw.random()
        count += 1
    return count


def percentiles(values: Iterable[float]) -> Interval:
    """From the 2.5th to the 97.5th percentile."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return Interval(ordered[math.floor(0.025 * last)], ordered[math.ceil(0.975 * last)])


def pair_matrix(units: Iterable[Unit]) -> list[Pair]:
    """Each two people who judged a unit in common, by name."""
    found = overlapping(units)
    people = sorted({name for unit in found for name in unit})
    made = []
    for first, second in combinations(people, 2):
        both = [
            (unit[first], unit[second])
            for unit in found
            if first in unit and second in unit
        ]
        if both:
            percent = sum(a == b for a, b in both) / len(both)
            made.append(Pair(first, second, len(both), percent, cohen_kappa(both)))
    return made


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How well a judge finds what people call `label`; shares are 0 to 1."""

    label: Value
    people: int
    judge: int
    precision: float
    recall: float
    f1: float


def label_scores(pairs: Sequence[tuple[Value, Value]]) -> list[LabelScore]:
    """Precision, recall and F1 of each label; pairs are (people's answer, judge's).

    van Rijsbergen, C. J. (1979). Information Retrieval (2nd ed.), chapter 7.
    """
    both, people, judge = (
        Counter(a for a, b in pairs if a == b),
        Counter(a for a, _ in pairs),
        Counter(b for _, b in pairs),
    )
    return [
        LabelScore(
            label,
            people[label],
            judge[label],
            both[label] / judge[label] if judge[label] else 0.0,
            both[label] / people[label] if people[label] else 0.0,
            2 * both[label] / (people[label] + judge[label]),
        )
        for label in _in_order({*people, *judge})
    ]


def _in_order(values: Iterable[Value]) -> list[Value]:
    """Sorted; values of several kinds by their texts."""
    found = list(values)
    try:
        return sorted(found)  # type: ignore[type-var]  # one kind, as a rule
    except TypeError:
        return sorted(found, key=lambda value: (type(value).__name__, str(value)))
