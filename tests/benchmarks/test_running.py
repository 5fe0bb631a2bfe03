# SPDX-License-Identifier: Apache-2.0
"""Runs: cells become batches, answers become scores, and scores figures."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from batchsite.accounts.models import AuditEvent, User
from benchmarks import evaluating, running, suites
from benchmarks.models import Cell, Run, Score, Suite
from benchmarks.running import Variant, read_variants
from jobs import disks, limits
from jobs.models import Batch
from jobs.refusals import NotNow, Refused
from tests.web.benchmark_rows import answer

from .conftest import MakeRun, MakeSuite

pytestmark = pytest.mark.django_db


def cells(run: Run) -> list[Cell]:
    return list(run.cells.select_related("batch").order_by("position"))


def lines(batch: Batch | None) -> list[dict[str, Any]]:
    assert batch is not None
    assert batch.input_file is not None
    with default_storage.open(batch.input_file.storage_name) as content:
        return [json.loads(line) for line in content]


def state(run: Run) -> str:
    run.refresh_from_db()
    return run.state


def test_each_cell_is_a_batch_of_the_lowest_priority(
    make_run: MakeRun, owner: User
) -> None:
    run = make_run(
        variants=[Variant("greedy", {"temperature": 0}), Variant("warm")], repeats=2
    )
    made = cells(run)
    assert [(c.model, c.variant, c.repeat) for c in made[:4]] == [
        ("small", "greedy", 1),
        ("small", "greedy", 2),
        ("small", "warm", 1),
        ("small", "warm", 2),
    ]
    assert {cell.state for cell in made} == {"running"}
    assert len(made) == 8
    batch = made[0].batch
    assert batch is not None
    assert (batch.priority, batch.dedupe, batch.owner) == (-100, False, owner)
    assert batch.tags == ["benchmark"]
    first, *rest = lines(batch)
    assert first["body"] == {
        "messages": [{"role": "user", "content": "1 + 1?"}],
        "temperature": 0,
        "model": "small",
    }
    assert len(rest) == 3
    assert "temperature" not in lines(made[2].batch)[0]["body"]
    assert not running.wanted()
    assert AuditEvent.objects.filter(action="benchmark.run").count() == 1


def test_answers_are_scored_and_figures_made(make_run: MakeRun) -> None:
    run = make_run()
    small, large = cells(run)
    answer(small, "It is 2.", "5", "60", failed=1)
    running.work()
    small.refresh_from_db()
    assert (small.state, state(run)) == ("done", "running")
    figures = small.figures
    assert (figures["items"], figures["answered"]) == (4, 3)
    numeric = figures["metrics"]["numeric"]
    assert (numeric["mean"], numeric["count"]) == (0.5, 4)
    # Wilson's interval of 2 of 4.
    assert numeric["low"] == pytest.approx(0.15, abs=0.001)
    assert figures["metrics"]["score"] == numeric
    assert figures["tags"]["hard"]["numeric"]["mean"] == 0.5
    assert figures["tokens"]["output"] > 0
    assert figures["seconds"] == pytest.approx(2)
    said = [(s.index, s.answered, s.values) for s in small.scores.all()]
    assert said == [
        (0, True, {"numeric": 1}),
        (1, True, {"numeric": 0}),
        (2, True, {"numeric": 1}),
        (3, False, {"numeric": 0}),
    ]
    answer(large, "2", "4", "60", "80")
    running.work()
    assert state(run) == "done"
    assert run.ended_at is not None


def test_scoring_goes_on_where_it_was_cut_off(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "READ_AT_ONCE", 1)
    run = make_run(models=["small"])
    (cell,) = cells(run)
    answer(cell, "2", "4", "60", "80")
    turns = 0
    while cell.state == "running":
        found = running._take()
        assert found is not None
        running.go_on(found, time.monotonic())
        cell.refresh_from_db()
        turns += 1
    assert turns == 4
    assert cell.figures["metrics"]["numeric"]["mean"] == 1
    assert cell.scores.count() == 4


def test_who_lost_a_cell_to_another_scores_nothing(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(models=["small"])
    (cell,) = cells(run)
    answer(cell, "2", "4", "60", "80")
    late = running._take()
    assert late is not None
    Cell.objects.update(taken_until=None)
    running.work()
    assert Score.objects.count() == 4
    running.go_on(late, time.monotonic() + 10)
    assert Score.objects.count() == 4
    assert state(run) == "done"


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
def test_a_batch_that_did_not_complete_makes_no_figures(
    make_run: MakeRun, status: str
) -> None:
    run = make_run(models=["small"])
    (cell,) = cells(run)
    if status == "failed":
        told = {"object": "list", "data": [{"message": "no such model"}]}
        over: dict[str, Any] = {"errors": told, "failed_at": timezone.now()}
    else:
        answer(cell, "2")
        over = {f"{status}_at": timezone.now()}
    Batch.objects.filter(benchmark_cell=cell).update(status=status, **over)
    running.work()
    cell.refresh_from_db()
    assert (cell.state, cell.figures) == ("failed", {})
    expected = "no such model" if status == "failed" else status
    assert expected in cell.problem
    assert state(run) == "done"


def test_a_batch_that_was_removed_fails_its_cell(make_run: MakeRun) -> None:
    run = make_run(models=["small"])
    Cell.objects.update(batch=None)
    running.work()
    assert cells(run)[0].problem == "Its batch was removed."


def test_a_team_without_room_waits(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**given: Any) -> None:
        raise limits.LimitReached("full", retry_after=60)

    with monkeypatch.context() as patch:
        patch.setattr(limits, "check_room", refuse)
        run = make_run(models=["small"])
    (cell,) = cells(run)
    assert (cell.state, cell.batch) == ("waiting", None)
    assert not running.wanted()
    Cell.objects.update(taken_until=None)
    running.work()
    assert cells(run)[0].state == "running"


def test_a_run_is_cancelled_resumed_and_run_again(
    make_run: MakeRun, owner: User
) -> None:
    run = make_run()
    small, large = cells(run)
    answer(small, "2", "4", "60", "80")
    running.work()
    with pytest.raises(NotNow):
        running.resume(run=run, user=owner)

    running.cancel(run=run, user=owner)

    assert [cell.state for cell in cells(run)] == ["done", "cancelled"]
    assert run.state == "cancelled"
    large.refresh_from_db()
    old = large.batch
    assert old is not None
    assert old.status == "cancelling"
    with pytest.raises(NotNow):
        running.cancel(run=run, user=owner)

    assert running.resume(run=run, user=owner) == 1
    running.work()
    large = cells(run)[1]
    assert (large.state, run.state) == ("running", "running")
    assert large.batch != old
    answer(large, "2", "4", "60", "80")
    running.work()
    assert state(run) == "done"

    again = running.rerun(run=run, user=owner)
    assert (again.rerun_of, again.matrix, again.version) == (
        run,
        run.matrix,
        run.version,
    )


def test_who_scores_a_cell_that_is_cancelled_writes_nothing(
    make_run: MakeRun, owner: User
) -> None:
    run = make_run(models=["small"])
    (cell,) = cells(run)
    answer(cell, "2", "4", "60", "80")
    late = running._take()
    assert late is not None
    running.cancel(run=run, user=owner)
    running.go_on(late, time.monotonic() + 10)
    cell.refresh_from_db()
    assert (cell.state, cell.figures) == ("cancelled", {})
    assert Score.objects.count() == 0


def test_a_mistake_fails_its_cell_and_no_other(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    small, large = cells(run)
    for cell in (small, large):
        answer(cell, "2", "4", "60", "80")
    real = evaluating.score

    def score(cell: Cell, end: float) -> bool:
        if cell.pk == small.pk:
            raise TypeError("odd")
        return real(cell, end)

    monkeypatch.setattr(evaluating, "score", score)
    running.work()
    assert [cell.state for cell in cells(run)] == ["failed", "done"]
    assert "mistake of the server" in cells(run)[0].problem
    assert state(run) == "done"


def test_a_full_disk_is_waited_for(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise disks.NoRoom("a disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(disks, "check", refuse)
        run = make_run(models=["small"])
    assert cells(run)[0].state == "waiting"


def test_slow_scoring_holds_its_cell(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "HELD_SECONDS", -1.0)
    run = make_run(models=["small"])
    (cell,) = cells(run)
    answer(cell, "2", "4", "60", "80")
    turns: list[int] = []
    real = Cell.hold

    def hold(self: Cell, **values: Any) -> None:
        turns.append(values.get("scored", 0))
        real(self, **values)

    monkeypatch.setattr(Cell, "hold", hold)
    running.work()
    assert turns[:4] == [1, 2, 3, 4]
    assert cells(run)[0].state == "done"


def test_what_cannot_be_run_is_refused(
    sums: Suite, models: list[str], owner: User
) -> None:
    def ask(**over: Any) -> Run:
        given: dict[str, Any] = {"version": sums.latest, "models": models}
        return running.ask(**{**given, "user": owner, **over})

    for over, param in (
        ({"models": []}, "models"),
        ({"models": ["odd"]}, "models[0]"),
        ({"models": ["small", "small"]}, "models"),
        ({"repeats": 0}, "repeats"),
        ({"repeats": 20, "variants": [Variant(str(n)) for n in range(5)]}, "models"),
        ({"name": "\0"}, "name"),
    ):
        with pytest.raises(Refused) as refused:
            ask(**over)
        assert refused.value.param == param
    suites.archive_suite(suite=sums, user=owner, archived=True)
    with pytest.raises(Refused, match="archived"):
        ask(version=Suite.objects.get().latest)
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ([], "variants"),
        ("a", "variants"),
        ([1], "variants[0]"),
        ([{"name": "a b"}], "variants[0].name"),
        ([{"name": "a", "odd": 1}], "variants[0].odd"),
        ([{"name": "a", "body": []}], "variants[0].body"),
        ([{"name": "a", "body": {"model": "x"}}], "variants[0].body.model"),
        ([{"name": "a", "body": {"x": "y" * 20_001}}], "variants[0].body"),
        ([{"name": "a"}, {"name": "a"}], "variants"),
        ([{"name": "a", "body": {"n": 1e400}}], "variants[0].body"),
        ([{"name": "a", "body": {"n": "\ud800"}}], "variants[0].body"),
        ([{"name": "a", "\ud800": 1}], "variants[0].\\ud800"),
    ],
)
def test_what_is_wrong_with_a_variant_is_named(value: Any, param: str) -> None:
    with pytest.raises(Refused) as refused:
        read_variants("variants", value)
    assert refused.value.param == param


def test_several_metrics_have_one_figure_and_odd_items_none(
    make_suite: MakeSuite, models: list[str], owner: User
) -> None:
    suite = make_suite(
        {"input": "a", "reference": "x y", "metrics": ["exact", "token_f1"]},
        {"input": "b"},
    )
    run = running.ask(version=suite.latest, models=["small"], user=owner)
    running.work()
    (cell,) = cells(run)
    answer(cell, "x", "whatever")
    running.work()
    cell.refresh_from_db()
    metrics = cell.figures["metrics"]
    assert metrics["exact"]["mean"] == 0
    assert metrics["token_f1"]["mean"] == pytest.approx(2 / 3, abs=1e-6)
    assert metrics["score"]["mean"] == pytest.approx(1 / 3, abs=1e-6)
    assert metrics["score"]["count"] == 1
    assert metrics["token_f1"]["low"] is None
