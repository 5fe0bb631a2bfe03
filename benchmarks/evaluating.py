# SPDX-License-Identifier: Apache-2.0
"""What came of a cell: each answer's scores, and the figures over all of them."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Sum

from jobs.answer_text import read
from jobs.models import Result
from jobs.statistics import mean_of, percentile

from .models import Cell, Score, SuiteItem
from .scoring import OVERALL, Metric, scored
from .scoring.scorers import Scorer

READ_AT_ONCE = 200
# Between two holds of a cell, whose lease is two minutes.
HELD_SECONDS = 20.0
# Scorers of items' own metrics that are kept.
KNOWN = 256
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def forget(cells: Iterable[int]) -> None:
    """Remove the scores of these cells, which run anew."""
    Score.objects.filter(cell__in=list(cells)).delete()


Scorers = list[tuple[Metric, Scorer]]


def score(cell: Cell, end: float) -> bool:
    """Score the answers of a held cell until all are or `end` is; whether all are."""
    version = cell.run.version
    rows = version.items.order_by("index")
    known: dict[str, Scorers] = {}
    while cell.scored < version.count:
        items = list(rows.filter(index__gte=cell.scored)[:READ_AT_ONCE])
        places = [item.index for item in items]
        found = Result.objects.filter(batch=cell.batch_id, index__in=places)
        results = {result.index: result for result in found}
        made: list[Score] = []
        late = time.monotonic() + HELD_SECONDS
        for item in items:
            item.version = version
            made.append(_score(cell, item, results.get(item.index), known))
            # The lease is for longer than that.
            if time.monotonic() > late:
                break
        scored_now = made[-1].index + 1
        with transaction.atomic():
            cell.hold(scored=scored_now)
            Score.objects.bulk_create(made)
        cell.scored = scored_now
        if time.monotonic() >= end:
            break
    return cell.scored >= version.count


def _score(
    cell: Cell, item: SuiteItem, result: Result | None, known: dict[str, Scorers]
) -> Score:
    answered = result is not None and result.outcome == Result.Outcome.COMPLETED
    text = None
    if result is not None and answered:
        text = read(result.body, result.finish_reason).text
    key = item.metrics_text
    if key not in known:
        if len(known) >= KNOWN:
            known.clear()
        known[key] = [(metric, metric.scorer()) for metric in item.metrics]
    values: dict[str, float] = {}
    for metric, scorer in known[key]:
        value = scored(metric, scorer, text, item.reference)
        if value is not None:
            values[metric.name] = round(value, 6)
    return Score(
        cell=cell,
        item=item,
        index=item.index,
        answered=answered,
        values_text=json.dumps(values),
    )


def overall(values: dict[str, float]) -> float | None:
    """An item's one figure: the mean of its metrics; None where none says anything."""
    return sum(values.values()) / len(values) if values else None


def figures(cell: Cell) -> dict[str, Any]:
    """A scored cell's figures, for people and for comparisons.

    {"items", "answered", "metrics": {name: {"mean", "low", "high", "count"}}, "tags":
    {tag: {name: {…}}}, "tokens", "latency_ms", "seconds"}; shares are 0 to 1, times of
    requests as the batch had them, in milliseconds.
    """
    whole: defaultdict[str, list[float]] = defaultdict(list)
    tagged: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    answered = 0
    rows = Score.objects.filter(cell=cell).select_related("item").order_by("index")
    rows = rows.only("index", "answered", "values_text", "item__tags")
    for row in rows.iterator(chunk_size=READ_AT_ONCE):
        answered += row.answered
        values = row.values
        every = overall(values)
        if every is not None:
            values = {**values, OVERALL: every}
        for name, value in values.items():
            whole[name].append(value)
            for tag in row.item.tags:
                tagged[tag][name].append(value)
    return {
        "items": cell.run.version.count,
        "answered": answered,
        "metrics": {name: _figure(found) for name, found in whole.items()},
        "tags": {
            tag: {name: _figure(found) for name, found in by_name.items()}
            for tag, by_name in sorted(tagged.items())
        },
        **_speed(cell),
    }


def _figure(values: Sequence[float]) -> dict[str, Any]:
    found = mean_of(values)
    interval = found.interval
    return {
        "mean": round(found.mean, 6),
        "low": round(max(interval.low, 0.0), 6) if interval else None,
        "high": round(min(interval.high, 1.0), 6) if interval else None,
        "count": found.count,
    }


def _speed(cell: Cell) -> dict[str, Any]:
    batch = cell.batch
    assert batch is not None
    rows = Result.objects.filter(batch=batch, outcome=Result.Outcome.COMPLETED)
    sums = rows.aggregate(
        input=Sum("input_tokens"),
        cached=Sum("cached_tokens"),
        output=Sum("output_tokens"),
    )
    found = rows.values_list("latency_ms", flat=True)
    times = sorted(ms for ms in found if ms is not None)
    begun, ended = batch.in_progress_at, batch.finalizing_at or batch.closed_at
    seconds = (ended - begun).total_seconds() if begun and ended else None
    return {
        "tokens": {name: value or 0 for name, value in sums.items()},
        "latency_ms": {
            name: round(percentile(times, share), 1) for name, share in SHARES.items()
        }
        if times
        else None,
        "seconds": seconds,
    }
