# SPDX-License-Identifier: Apache-2.0
"""Suites, models, and answers to the batches of runs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from batchsite.accounts.models import Team, User
from benchmarks import item_lines, running, suites
from benchmarks.models import Run, Suite
from benchmarks.sources import Source
from jobs.models import ServedModel

MakeSuite = Callable[..., Suite]
MakeRun = Callable[..., Run]


@pytest.fixture
def make_suite(team: Team) -> MakeSuite:
    """Makes a suite of rows like {"input", "reference"}; other keywords are its own."""

    def make(*given: Any, **over: Any) -> Suite:
        content = b"\n".join(json.dumps(row).encode() for row in given)
        source = Source(item_lines.read(io.BytesIO(content)), {"kind": "file"})
        name = f"suite {Suite.objects.count()}"
        values: dict[str, Any] = {"name": name, "source": source, "user": None}
        return suites.create_suite(team=team, **values | over)

    return make


@pytest.fixture
def sums(make_suite: MakeSuite) -> Suite:
    """Four sums; the last two are tagged as hard."""
    return make_suite(
        *(
            {"input": f"{n} + {n}?", "reference": 2 * n, "metrics": ["numeric"]}
            for n in (1, 2)
        ),
        *(
            {
                "input": f"{n} + {n}?",
                "reference": 2 * n,
                "tags": ["hard"],
                "metrics": ["numeric"],
            }
            for n in (30, 40)
        ),
    )


@pytest.fixture
def models() -> list[str]:
    """Two models that are enabled."""
    names = ["small", "large"]
    for name in names:
        ServedModel.objects.create(name=name, source=name)
    return names


@pytest.fixture
def make_run(sums: Suite, models: list[str], owner: User) -> MakeRun:
    """Starts a run of the sums on both models; other keywords are those of `ask`."""

    def make(**over: Any) -> Run:
        given: dict[str, Any] = {
            "version": sums.latest,
            "models": models,
            "user": owner,
        }
        run = running.ask(**given | over)
        running.work()
        return run

    return make
