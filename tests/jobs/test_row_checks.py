# SPDX-License-Identifier: Apache-2.0
"""Checks over the results of a batch: followed, stored once, found by keyset."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import DjangoAssertNumQueries

from batchsite.accounts.models import AuditEvent, User
from jobs import row_checks
from jobs.models import Batch, CheckRun, RowCheck, RowOutcome
from jobs.refusals import Refused
from jobs.row_checks import following
from jobs.row_checks.reading import Wanted
from tests.conftest import MakeBatch
from tests.web import rows

VALID = {"name": "valid", "kind": "json"}
SHORT = {"name": "short", "kind": "length", "params": {"most": 5}}


def add(batch: Batch, *checks: dict[str, Any]) -> list[row_checks.Definition]:
    given = row_checks.read("checks", list(checks))
    return row_checks.add(batch=batch, checks=given, user=None)


def counts(batch: Batch) -> dict[str, tuple[int, ...]]:
    """passed, failed, not applicable and errors of each check."""
    return {
        check.name: (check.passed, check.failed, check.not_applicable, check.errors)
        for check in RowCheck.objects.filter(batch=batch)
    }


def letters(batch: Batch) -> list[str]:
    found = RowOutcome.objects.filter(batch=batch).order_by("index")
    return list(found.values_list("letters", flat=True))


def end(batch: Batch) -> None:
    """What is answered by now is all that there will be."""
    Batch.objects.filter(pk=batch.pk).update(
        status="completed",
        closing_reason="done",
        closed_at=timezone.now(),
        completed_at=timezone.now(),
        total=batch.result_seq,
    )


@pytest.fixture
def batch(make_batch: MakeBatch) -> Batch:
    """Runs; three answers, of which the second is no JSON, and a failed request."""
    made = rows.running(make_batch)
    texts = ["[1]", "no", '{"long": "answer"}']
    rows.answer(made, [rows.chat(t) for t in texts], failed=[rows.CONTEXT_ERROR])
    return made


def test_nothing_is_wanted_of_batches_without_checks(
    batch: Batch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        assert not following.wanted()
    assert following.run() == "0 results checked"
    results = list(batch.results.all())
    with django_assert_num_queries(0):
        assert row_checks.tallies([batch]) == {}
        assert row_checks.outcomes_for(batch, results) == {}


def test_results_are_checked_as_they_come(batch: Batch) -> None:
    add(batch, VALID, SHORT)
    assert following.wanted()
    assert following.run() == "4 results checked"
    assert counts(batch) == {"valid": (2, 1, 1, 0), "short": (2, 1, 1, 0)}
    assert letters(batch) == ["pp", "fp", "pf", "nn"]
    # the batch runs, and nothing is to do
    assert not following.wanted()
    rows.answer(batch, [rows.chat("nothing")])
    assert following.wanted()
    assert following.run() == "1 results checked"
    assert counts(batch) == {"valid": (2, 2, 1, 0), "short": (2, 2, 1, 0)}
    assert not CheckRun.objects.get().done


def test_a_run_is_done_when_its_batch_has_ended(batch: Batch) -> None:
    add(batch, VALID)
    end(batch)
    following.run()
    assert CheckRun.objects.get().done
    assert counts(batch) == {"valid": (2, 1, 1, 0)}
    assert not following.wanted()


def test_a_run_is_not_done_while_the_last_results_come(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(batch, VALID)
    following.run()
    found = CheckRun.objects.get()
    real = following._next_slice

    def late(seen: Batch) -> Any:
        part = real(seen)
        rows.answer(batch, [rows.chat("late")])
        end(batch)
        return part

    monkeypatch.setattr(following, "_next_slice", late)
    assert following.follow(found) == 0
    monkeypatch.undo()
    assert not CheckRun.objects.get().done
    assert following.run() == "1 results checked"


def test_checks_that_come_later_see_all_results(batch: Batch) -> None:
    add(batch, VALID)
    end(batch)
    following.run()
    add(batch, SHORT)
    assert following.wanted()
    found = row_checks.outcomes_for(batch, list(batch.results.all()))
    assert [said.outcome for said in found[batch.results.get(index=1).pk]] == [
        row_checks.Outcome.FAILED,
        None,
    ]
    following.run()
    assert letters(batch) == ["pp", "fp", "pf", "nn"]
    assert counts(batch) == {"valid": (2, 1, 1, 0), "short": (2, 1, 1, 0)}
    assert CheckRun.objects.get().done
    reasons = json.loads(RowOutcome.objects.get(batch=batch, index=3).reasons)
    assert reasons == {"0": "the request failed", "1": "the request failed"}


def test_a_late_check_catches_up_and_then_goes_along(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SLICE_ROWS", 3)
    add(batch, VALID)
    following.run()
    rows.answer(batch, [rows.chat("x"), rows.chat("yyyyyyyy")])
    add(batch, SHORT)
    assert following.follow(CheckRun.objects.get()) == 3
    assert letters(batch)[:4] == ["pp", "fp", "pf", "n"]
    # up to where the other one stands
    assert following.follow(CheckRun.objects.get()) == 1
    assert following.follow(CheckRun.objects.get()) == 2
    assert letters(batch) == ["pp", "fp", "pf", "nn", "fp", "ff"]


def test_a_check_that_raises_is_an_error_of_the_row(batch: Batch) -> None:
    add(batch, VALID)
    RowCheck.objects.update(kind="gone")
    following.run()
    assert counts(batch) == {"valid": (0, 0, 1, 3)}
    found = row_checks.outcomes_for(batch, list(batch.results.all()))
    (said,) = found[batch.results.get(index=0).pk]
    assert (said.outcome, said.reason) == (
        row_checks.Outcome.ERROR,
        "KeyError: 'gone'",
    )


def test_hostile_answers_are_stored_with_their_reasons(make_batch: MakeBatch) -> None:
    batch = rows.running(make_batch)
    rows.answer(batch, ['{"choices": [{"text": "\\ud800 \\u0000"}]}', "no JSON at all"])
    schema = {"schema": {"const": 1}}
    add(
        batch,
        {"name": "§ <b>", "kind": "equals", "params": {"value": "\0\ud800"}},
        {"name": "s", "kind": "json_schema", "params": schema},
    )
    following.run()
    assert letters(batch) == ["ff", "nn"]


def test_a_slice_that_lost_its_run_stores_nothing(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(batch, VALID)
    real = following._judge

    def late(part: Any, keep: Any) -> Any:
        # somebody else takes the run, or it gets another check
        CheckRun.objects.update(epoch=77)
        return real(part, keep)

    monkeypatch.setattr(following, "_judge", late)
    assert following.follow(CheckRun.objects.get()) == 0
    assert (letters(batch), counts(batch)) == ([], {"valid": (0, 0, 0, 0)})


def test_a_run_is_taken_once_and_again_when_its_worker_is_gone(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*args: object) -> None:
        raise Killed

    add(batch, VALID)
    found = CheckRun.objects.get()
    monkeypatch.setattr(following, "_store", die)
    with pytest.raises(Killed):
        following.follow(found)
    monkeypatch.undo()
    assert not following.wanted()
    assert following.follow(found) == 0
    past = timezone.now() - timedelta(seconds=1)
    CheckRun.objects.update(free_at=past)
    assert following.run() == "4 results checked"
    assert letters(batch) == ["p", "f", "p", "n"]


def test_a_slow_slice_keeps_its_run_and_stores_what_it_has(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(batch, VALID)
    monkeypatch.setattr(following, "SLICE_SECONDS", 0)
    monkeypatch.setattr(following, "TAKEN_SECONDS", 0)
    assert following.follow(CheckRun.objects.get()) == 1
    assert RowCheck.objects.get().checked_seq == 1


def test_a_turn_ends_and_wakes_the_next_one(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(batch, VALID)
    monkeypatch.setattr(following, "SLICE_ROWS", 1)
    monkeypatch.setattr(following, "TURN_SECONDS", -1)
    OrmQ.objects.all().delete()
    cache.clear()
    assert following.run() == "0 results checked, goes on"
    assert OrmQ.objects.count() == 1


def test_an_added_check_is_told_once(batch: Batch, owner: User) -> None:
    given = row_checks.read("checks", [VALID, SHORT])
    for _ in range(2):
        row_checks.add(batch=batch, checks=given, user=owner, address="192.0.2.1")
    batch.refresh_from_db()
    assert batch.check_count == RowCheck.objects.count() == 2
    (event,) = batch.events.filter(kind="checks_added")
    assert event.message == f"valid, short, asked for by {owner}"
    noted = AuditEvent.objects.get(action="batch.checks")
    assert noted.data["checks"] == ["valid", "short"]
    assert row_checks.definitions_of(batch) == given


def test_checks_stay_as_they_are(batch: Batch) -> None:
    add(batch, VALID)
    with pytest.raises(Refused) as refused:
        add(batch, SHORT, {**SHORT, "name": "valid"})
    assert refused.value.param == "checks[1].name"
    with pytest.raises(Refused):
        add(batch, *({**VALID, "name": str(n)} for n in range(20)))
    assert RowCheck.objects.count() == 1


def test_flagged_rows_are_found_by_check_in_input_order(batch: Batch) -> None:
    add(batch, VALID, SHORT)
    following.run()
    batch.refresh_from_db()
    failed = row_checks.Outcome.FAILED

    def indexes(text: str, after: int = -1, limit: int = 10) -> list[int]:
        wanted = row_checks.wanted_by(batch, text)
        assert wanted is not None
        assert wanted.text == text
        return row_checks.flagged_indexes(batch, wanted, after=after, limit=limit)

    assert indexes("valid:failed") == [1]
    assert indexes("short:failed") == [2]
    assert indexes(":failed") == [1, 2]
    assert indexes(":failed", after=1) == [2]
    assert indexes(":failed", limit=1) == [1]
    assert indexes(":error") == []
    found = row_checks.filter_results(batch.results.all(), Wanted(failed))
    assert {result.index for result in found} == {1, 2}
    for unknown in (
        "valid",
        "valid:",
        "valid:bad",
        "gone:failed",
        "",
        ":",
        "\0:failed",
    ):
        assert row_checks.wanted_by(batch, unknown) is None


def test_a_name_may_have_a_colon(batch: Batch) -> None:
    add(batch, {**VALID, "name": "a:failed"})
    batch.refresh_from_db()
    wanted = row_checks.wanted_by(batch, "a:failed:error")
    assert wanted is not None
    assert wanted.check is not None
