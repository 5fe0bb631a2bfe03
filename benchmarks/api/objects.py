# SPDX-License-Identifier: Apache-2.0
"""Rows of benchmarks as objects of the API: every field present, times in unix seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.comparing import Comparison, Contestant, compare_all
from benchmarks.models import Cell, Run, Suite, SuiteItem, SuiteVersion
from jobs.api.serializers import unix

Object = dict[str, Any]
# One call takes no longer; the next one goes on.
COMPARED_SECONDS = 10.0


def suite_object(suite: Suite, version: SuiteVersion) -> Object:
    """A suite with what one version of it has, mostly its newest."""
    return {
        "id": suite.public_id,
        "object": "benchmark.suite",
        "name": suite.name,
        "version": version.number,
        "items": version.count,
        "url": version.url,
        "metrics": [metric.as_json() for metric in version.metrics],
        "source": version.source,
        "sha256": version.sha256,
        "archived": suite.archived_at is not None,
        "created_at": unix(suite.created_at),
        "version_created_at": unix(version.created_at),
    }


def run_object(run: Run, *, with_tags: bool = True) -> Object:
    """A run with its cells and what came of each; lists leave the tags' figures out."""
    matrix = run.matrix
    cells = run.cells.select_related("batch").order_by("position")
    return {
        "id": run.public_id,
        "object": "benchmark.run",
        "name": run.name,
        "state": run.state,
        "suite_id": run.version.suite.public_id,
        "suite_version": run.version.number,
        "models": matrix["models"],
        "variants": matrix["variants"],
        "repeats": matrix["repeats"],
        "rerun_of": run.rerun_of.public_id if run.rerun_of else None,
        "cells": [_cell(cell, with_tags=with_tags) for cell in cells],
        "created_at": unix(run.created_at),
        "ended_at": unix(run.ended_at),
    }


def _cell(cell: Cell, *, with_tags: bool) -> Object:
    figures = cell.figures
    if not with_tags:
        figures.pop("tags", None)
    return {
        "position": cell.position,
        "model": cell.model,
        "variant": cell.variant,
        "repeat": cell.repeat,
        "state": cell.state,
        "problem": cell.problem or None,
        "batch_id": cell.batch.public_id if cell.batch else None,
        "figures": figures or None,
    }


def comparison_object(
    run: Run, metric: str, baseline: Contestant, others: Sequence[Contestant]
) -> Object:
    """Each of a run's models and variants beside the baseline, by one metric.

    Of large runs some may not be compared yet: `complete` is false then.
    """
    compared, is_whole = compare_all(baseline, others, metric, seconds=COMPARED_SECONDS)
    return {
        "object": "benchmark.comparison",
        "run_id": run.public_id,
        "metric": metric,
        "complete": is_whole,
        "baseline": _contestant(baseline, metric),
        "others": [
            {
                **_contestant(one, metric),
                "compared": _compared(compared.get(one.key)),
            }
            for one in others
        ],
    }


def _contestant(one: Contestant, metric: str) -> Object:
    figure = one.metrics().get(metric)
    return {
        "position": one.key,
        "model": one.model,
        "variant": one.variant,
        "mean": figure and figure.mean,
        "low": figure.interval.low if figure and figure.interval else None,
        "high": figure.interval.high if figure and figure.interval else None,
    }


def _compared(found: Comparison | None) -> Object | None:
    if found is None:
        return None
    difference = found.difference
    return {
        "verdict": found.words,
        "items": difference.count,
        "difference": difference.mean,
        "low": difference.interval.low,
        "high": difference.interval.high,
        "p": difference.p,
        "worse": list(found.worse),
        "worse_count": found.worse_count,
        "better": list(found.better),
        "better_count": found.better_count,
    }


def item_object(item: SuiteItem) -> Object:
    """An item; the metrics are what is asked of it."""
    return {
        "object": "benchmark.item",
        "id": item.custom_id,
        "reference": None,
        "tags": [],
        **item.as_line(),
        "metrics": [metric.as_json() for metric in item.metrics],
    }
