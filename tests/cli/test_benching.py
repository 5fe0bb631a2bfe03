# SPDX-License-Identifier: Apache-2.0
"""`batchsite bench` against the site's own web application; runs end at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchsite.accounts.models import Team, User
from batchsite.cli import benching
from benchmarks import running, suites
from benchmarks.models import Cell, Run, Suite
from benchmarks.sources import of_ready
from jobs.models import ServedModel
from tests.web.benchmark_rows import answer

from .conftest import Cli

pytestmark = pytest.mark.django_db(transaction=True)
RIGHT = [item.reference for item in of_ready("classification").items]


@pytest.fixture
def suite(team: Team, owner: User, signed_in: Any) -> Suite:
    """36 items, and two models."""
    for name in ("old", "new"):
        ServedModel.objects.create(name=name, source=name)
    source = of_ready("classification")
    return suites.create_suite(team=team, name="Labels", source=source, user=owner)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of the pause the run goes on: the first model is right, the others are
    right in the first `good` items."""

    def pause() -> None:
        running.work()
        for cell in Cell.objects.filter(state="running", batch__status="validating"):
            good = 36 if cell.position == 0 else state["good"]
            answer(cell, *RIGHT[:good], *["nonsense"] * (36 - good))
        running.work()

    state["good"] = 36
    monkeypatch.setattr(benching, "pause", pause)


state = {"good": 36}


def test_suites_are_listed(cli: Cli, suite: Suite) -> None:
    assert cli("bench", "suites").ok().split("\t") == [
        suite.public_id,
        "Labels",
        "36",
        "1\n",
    ]
    assert json.loads(cli("bench", "suites", "--json").ok())[0]["name"] == "Labels"


def test_a_run_is_started_by_a_suites_name(cli: Cli, suite: Suite) -> None:
    done = cli(
        *("bench", "run", "Labels", "-m", "old, new", "--repeats", "2"),
        *("--variant", 'greedy={"temperature": 0}', "--name", "nightly"),
    )
    run = Run.objects.get()
    assert done.ok() == f"{run.public_id}\n"
    assert (run.name, run.matrix["repeats"]) == ("nightly", 2)
    assert run.matrix["variants"] == [{"name": "greedy", "body": {"temperature": 0}}]
    assert "Run" in done.err and "4 batches" in done.err


@pytest.mark.parametrize(
    ("good", "code", "verdict"),
    [(36, 0, "no significant difference"), (20, 1, "worse")],
)
def test_scripts_see_whether_a_model_is_worse(
    cli: Cli, suite: Suite, good: int, code: int, verdict: str
) -> None:
    state["good"] = good
    done = cli("bench", "run", suite.public_id, "--models", "old,new", "--wait")
    assert done.code == code, done
    old, new = done.out.splitlines()
    assert old.split("\t")[0] == "old" and old.endswith("baseline")
    assert new.endswith(verdict)
    assert "2 of 2 batches have ended" in done.err

    run = Run.objects.get().public_id
    shown = cli("bench", "show", run, "--baseline", "new", "--json")
    # Seen from the other one the difference is none, or for the better.
    assert shown.code == 0
    comparison = json.loads(shown.out)["comparison"]
    assert comparison["baseline"]["model"] == "new"
    assert cli("bench", "show", run, "--wait").code == code


def test_a_batch_that_failed_is_no_success(cli: Cli, suite: Suite) -> None:
    cli("bench", "run", "Labels", "--models", "old")
    run = Run.objects.get()
    Cell.objects.update(state="failed", problem="Its batch failed: no such model")
    Run.objects.update(state="done", ended_at=run.created_at)
    done = cli("bench", "show", run.public_id)
    assert done.code == 1
    assert "no such model" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "Odd", "--models", "old"), "No suite is called Odd"),
        (
            ("run", "Labels", "--models", "old", "--baseline", "new"),
            "none of the models",
        ),
        (("run", "Labels", "--models", "old", "--variant", "a={"), "--variant a"),
        (("run", "Labels", "--models", "odd"), "no enabled model is named so"),
        (("show", "run_none"), "No run found"),
    ],
)
def test_what_is_wrong_is_said(
    cli: Cli, suite: Suite, arguments: tuple[str, ...], words: str
) -> None:
    done = cli("bench", *arguments)
    assert done.code in (2, 4)
    assert words in done.err
    assert not Run.objects.exists()
