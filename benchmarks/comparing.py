# SPDX-License-Identifier: Apache-2.0
"""Models beside each other: over the same items, with what chance leaves open."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from django.core.cache import cache
from django.db.models import F

from jobs.statistics import Difference, Interval, paired, student

from .evaluating import overall
from .models import Cell, Run, Score
from .scoring import OVERALL

# A cell that is done never changes; one that is resumed has other scores' keys.
KEPT_SECONDS = 3600
NAMED = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric's mean, 0 to 1, over `count` items; no interval: too few to tell."""

    mean: float
    count: int
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model in one variant, with the cells of its repeats."""

    model: str
    variant: str
    cells: Sequence[Cell]

    @property
    def key(self) -> int:
        """Its place in the run: that of its first cell."""
        return self.cells[0].position

    @property
    def done(self) -> list[Cell]:
        """The cells that have figures."""
        return [cell for cell in self.cells if cell.state == Cell.State.DONE]

    def metrics(self) -> dict[str, Figure]:
        """Each metric's figure over the repeats that are done.

        The interval is that over the repeats' means, as these differ by what the model
        draws, but never narrower than that of each over its items.
        """
        found: defaultdict[str, list[dict[str, float | None]]] = defaultdict(list)
        for cell in self.done:
            for name, figure in cell.figures.get("metrics", {}).items():
                found[name].append(figure)
        return {name: _merged(figures) for name, figures in found.items()}

    def tags(self) -> dict[str, dict[str, Figure]]:
        """The same for the items of each tag."""
        found: defaultdict[str, defaultdict[str, list[dict[str, float | None]]]]
        found = defaultdict(lambda: defaultdict(list))
        for cell in self.done:
            for tag, metrics in cell.figures.get("tags", {}).items():
                for name, figure in metrics.items():
                    found[tag][name].append(figure)
        return {
            tag: {name: _merged(figures) for name, figures in by_name.items()}
            for tag, by_name in found.items()
        }


def _merged(figures: Sequence[dict[str, float | None]]) -> Figure:
    means = [float(one["mean"] or 0) for one in figures]
    count = int(figures[0]["count"] or 0)
    if len(means) > 1:
        lows = [float(one["low"]) for one in figures if one["low"] is not None]
        highs = [float(one["high"]) for one in figures if one["high"] is not None]
        over = student(means)
        assert over is not None
        whole = Interval(
            min(over.low, fmean(lows)) if lows else over.low,
            max(over.high, fmean(highs)) if highs else over.high,
        )
        return Figure(fmean(means), count, _bounded(whole))
    low, high = figures[0]["low"], figures[0]["high"]
    known = None if low is None or high is None else Interval(low, high)
    return Figure(means[0], count, known)


def _bounded(interval: Interval) -> Interval:
    return Interval(max(interval.low, 0.0), min(interval.high, 1.0))


def contestants(run: Run) -> list[Contestant]:
    """Those of a run, in its order."""
    found: defaultdict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in run.cells.select_related("batch").order_by("position"):
        found[cell.model, cell.variant].append(cell)
    return [Contestant(*key, cells) for key, cells in found.items()]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One against the baseline, by one metric, over the items that both have.

    `worse` and `better` are custom ids of items, up to 100, the largest difference
    first; `worse_count` and `better_count` are all of them.
    """

    difference: Difference
    worse: Sequence[str]
    better: Sequence[str]
    worse_count: int
    better_count: int

    @property
    def words(self) -> str:
        """What a reader may conclude."""
        if not self.difference.is_significant:
            return "no significant difference"
        return "better" if self.difference.mean > 0 else "worse"


def compare(
    baseline: Contestant, other: Contestant, metric: str = OVERALL
) -> Comparison | None:
    """The other against the baseline; None where both have no item in common."""
    mine, theirs = baseline.done, other.done
    if metric not in baseline.metrics() or metric not in other.metrics():
        return None
    key = _key(mine, theirs, metric)
    found: Comparison | None = cache.get(key)
    if found is None:
        found = _compare(mine, theirs, metric)
        if found is not None:
            cache.set(key, found, KEPT_SECONDS)
    return found


def _key(mine: Sequence[Cell], theirs: Sequence[Cell], metric: str) -> str:
    """What a comparison is kept by: cells, each in the turn that it was scored in."""
    cells = [[(cell.pk, cell.turn) for cell in side] for side in (mine, theirs)]
    digest = hashlib.sha256(json.dumps([cells, metric]).encode()).hexdigest()
    return f"benchmarks:compared:{digest}"


def compare_all(
    baseline: Contestant, others: Sequence[Contestant], metric: str, *, seconds: float
) -> tuple[dict[int, Comparison | None], bool]:
    """Each against the baseline, by its key, and whether all are there.

    What is not done after `seconds` is left out; what was done is kept for the next time.
    """
    until = time.monotonic() + seconds
    found: dict[int, Comparison | None] = {}
    for one in others:
        if time.monotonic() > until:
            return found, False
        found[one.key] = compare(baseline, one, metric)
    return found, True


def _compare(
    mine: Sequence[Cell], theirs: Sequence[Cell], metric: str
) -> Comparison | None:
    first, second = scores_of(mine, metric), scores_of(theirs, metric)
    common = sorted(first.keys() & second.keys())
    if not common:
        return None
    difference = paired([first[n] for n in common], [second[n] for n in common])
    apart = {name: second[name] - first[name] for name in common}
    worse = sorted((n for n in common if apart[n] < 0), key=lambda n: (apart[n], n))
    better = sorted((n for n in common if apart[n] > 0), key=lambda n: (-apart[n], n))
    return Comparison(
        difference, worse[:NAMED], better[:NAMED], len(worse), len(better)
    )


def scores_of(cells: Iterable[Cell], metric: str) -> dict[str, float]:
    """Each item's score by that metric, over the cells' mean, by its custom id."""
    rows = Score.objects.filter(cell__in=list(cells)).order_by()
    found: defaultdict[str, list[float]] = defaultdict(list)
    for name, text in rows.values_list(F("item__custom_id"), "values_text").iterator():
        values = json.loads(text)
        value = overall(values) if metric == OVERALL else values.get(metric)
        if value is not None:
            found[name].append(value)
    return {name: fmean(values) for name, values in found.items()}
