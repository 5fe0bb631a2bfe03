# SPDX-License-Identifier: Apache-2.0
"""What became of estimates: settling them, their errors, the ranges that follow."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from batchsite.accounts.models import User
from jobs import settling, track_record
from jobs.chores import do_chore
from jobs.lengths import Lengths
from jobs.models import Batch, BatchEstimate, Engine, Result, ThroughputSample
from jobs.track_record import Outcome
from tests.conftest import MakeBatch
from tests.web.rows import managed

from .rows import answer, claim_next, external_engine, running_batch

pytestmark = pytest.mark.django_db


def outcome(ran: float | None, seconds: float | None = 100.0, **over: Any) -> Outcome:
    columns: dict[str, Any] = {
        "team": 1,
        "endpoint": "/v1/chat/completions",
        "seconds": seconds,
        "low": seconds and seconds * 0.9,
        "high": seconds and seconds * 1.1,
        "ran": ran,
        "characters": 0,
        "character_tokens": 0,
        "lengths": Lengths(),
    }
    return Outcome(**(columns | over))


def sampled(batch: Batch, engine: Engine, rows: int, engine_seconds: float) -> None:
    ThroughputSample.objects.create(
        batch=batch,
        engine=engine,
        seconds=10,
        rows=rows,
        input_tokens=0,
        output_tokens=rows * 7,
        engine_seconds=engine_seconds,
    )


def estimated(batch: Batch, **over: Any) -> BatchEstimate:
    columns: dict[str, Any] = {
        "model": batch.model,
        "endpoint": batch.endpoint,
        "rows": batch.total,
        "input_tokens": 100,
        "output_tokens": 50,
        "seconds": 12.0,
        "seconds_low": 10.0,
        "seconds_high": 15.0,
        "basis": "said",
    }
    return BatchEstimate.objects.create(batch=batch, **(columns | over))


def end(batch: Batch, status: str = "completed", *, seconds_ago: int = 60) -> None:
    moment = timezone.now() - timedelta(seconds=seconds_ago)
    reason = {"completed": "done"}.get(status, status)
    Batch.objects.filter(pk=batch.pk).update(
        status=status,
        closed_at=moment,
        closing_reason=reason,
        completed=batch.total,
        result_seq=batch.total,
        output_tokens=70,
        input_tokens=80,
        **{f"{status}_at": moment},
    )


def answered(make_batch: MakeBatch, rows: int) -> Batch:
    """A running batch with stored answers, some of them cut off."""
    batch = running_batch(make_batch, chunks=[rows])
    claim = claim_next(external_engine())
    assert claim is not None
    Result.objects.bulk_create(
        answer(
            claim,
            n,
            batch=batch,
            seq=n + 1,
            input_tokens=16,
            output_tokens=7,
            finish_reason="length" if n % 2 else "stop",
        )
        for n in range(rows)
    )
    return batch


def test_an_ended_batch_is_compared_with_its_estimate(make_batch: MakeBatch) -> None:
    batch = answered(make_batch, 10)
    one = estimated(batch)
    sampled(batch, external_engine("a"), 6, 8.0)
    sampled(batch, external_engine("b"), 4, 5.0)
    assert not settling.wanted()
    end(batch, seconds_ago=5)
    # The last samples may be on their way.
    assert not settling.wanted()
    end(batch)
    assert settling.wanted()
    assert do_chore("past estimates") == "1 estimates settled"
    assert not settling.wanted()
    assert not settling.settle(one)
    one.refresh_from_db()
    # What both engines gave it.
    assert (one.ran_seconds, one.note) == (13.0, "")
    assert (one.ran_input_tokens, one.ran_output_tokens) == (80, 70)
    bodies = sum(len(r.body) for r in batch.requests.all())
    assert (one.characters, one.character_tokens) == (bodies, 160)
    (found,) = track_record.outcomes("tiny")
    assert found.lengths.answers == 10
    assert found.lengths.expected() == pytest.approx(7)
    assert found.lengths.expected(70) == pytest.approx(7 + 63 / 2)
    held = track_record.accuracy([found])
    assert held is not None
    assert (held.estimates, held.within) == (1, 1)
    assert held.median_error == pytest.approx(1 / 13)
    assert track_record.accuracy_of(["tiny", "other"]) == {"tiny": held}


def test_what_a_killed_worker_did_not_write_down_is_filled_up(
    make_batch: MakeBatch,
) -> None:
    engine = external_engine()
    some, few = (running_batch(make_batch, chunks=[10]) for _ in range(2))
    sampled(some, engine, 9, 9.0)
    sampled(few, engine, 5, 5.0)
    for batch in (some, few):
        estimated(batch)
        end(batch)
    settling.run()
    found = BatchEstimate.objects.order_by("pk")
    assert [(one.ran_seconds, one.note) for one in found] == [
        (pytest.approx(10), "9 of 10 requests were timed"),
        (None, "only 5 of 10 requests were timed"),
    ]


def test_a_batch_that_was_cut_short_is_no_judge(make_batch: MakeBatch) -> None:
    batch = running_batch(make_batch, chunks=[10])
    sampled(batch, external_engine(), 10, 9.0)
    estimated(batch)
    end(batch, "cancelled")
    settling.run()
    one = BatchEstimate.objects.get()
    assert (one.ran_seconds, one.note) == (None, "the batch is cancelled")
    assert track_record.accuracy(track_record.outcomes("tiny")) is None


def test_a_thousand_answers_of_a_large_batch_are_looked_at_over_all_of_it(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "LOOKED_AT", 5)
    batch = answered(make_batch, 18)
    Result.objects.filter(batch=batch, index__lt=9).update(output_tokens=100)
    _, tokens, lengths = settling.look_at_answers(batch)
    assert tokens == 5 * 16
    assert lengths.answers == 5
    # 0, 3, 7 of the first half, 10 and 14 of the second
    assert (
        sum(one.tokens for one in (*lengths.ended.values(), *lengths.cut.values()))
        == 314
    )


def test_errors_in_words() -> None:
    assert track_record.accuracy([]) is None
    found = track_record.accuracy(
        [outcome(None), outcome(100.0, None), *(outcome(125.0) for _ in range(3))]
    )
    assert found is not None
    assert (
        found.words == "off by 20 % (median of the last 3; 0 of 3 within their range)"
    )


def test_only_the_newest_twenty_are_judged() -> None:
    found = track_record.accuracy([outcome(100.0)] * 20 + [outcome(500.0)] * 20)
    assert found is not None
    assert (found.estimates, found.median_error, found.within) == (20, 0.0, 20)


def test_ranges_by_past_errors_hold_four_of_five() -> None:
    """Simulated: batches take 1.3 times their estimate, give or take."""
    chance = random.Random(3)
    assert track_record.held_range([outcome(100.0)] * 9) is None
    held = 0
    for _ in range(400):
        past = [outcome(130 * chance.lognormvariate(0, 0.3)) for _ in range(40)]
        found = track_record.held_range(past)
        assert found is not None
        held += found[0] <= 1.3 * chance.lognormvariate(0, 0.3) <= found[1]
    assert 0.75 <= held / 400 <= 0.87


def test_characters_a_token_need_enough_tokens() -> None:
    few = outcome(1.0, characters=3000, character_tokens=999)
    assert track_record.characters_a_token([few]) is None
    found = track_record.characters_a_token([few, few, outcome(1.0)])
    assert found == pytest.approx((3000 / 999, 2))


def test_the_page_says_what_was_estimated_and_what_it_took(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = running_batch(make_batch, chunks=[10])
    one = estimated(batch, seconds=840.0, seconds_low=720.0, seconds_high=1080.0)
    client.force_login(owner)
    address = f"/batches/{batch.public_id}/"
    page = client.get(address).content.decode()
    assert "12\N{EN DASH}18 min on one engine" in page
    assert "50 expected" in page
    end(batch)
    BatchEstimate.objects.filter(pk=one.pk).update(
        settled_at=timezone.now(), ran_seconds=845.0, ran_input_tokens=80,
        ran_output_tokens=70,
    )  # fmt: skip
    page = client.get(address).content.decode()
    assert "14 min of one engine" in page
    assert "50 expected, 70 came" in page
    BatchEstimate.objects.update(
        seconds=None, seconds_low=None, seconds_high=None, ran_seconds=None,
        note="only 5 of 10 requests were timed",
    )  # fmt: skip
    page = client.get(address).content.decode()
    assert "not known: the model had not run here" in page
    assert "not known: only 5 of 10 requests were timed" in page


def test_the_engines_page_says_how_estimates_held(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    managed()
    batch = running_batch(make_batch, chunks=[10])
    estimated(batch, settled_at=timezone.now(), ran_seconds=12.0)
    client.force_login(owner)
    page = client.get("/engines/").content.decode()
    assert "were off by 0 % (one; 1 of 1 within their range)" in page
