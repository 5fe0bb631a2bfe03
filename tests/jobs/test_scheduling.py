# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from jobs.scheduling import Work, choose_model, rank, wants_claim

NOW = 1_000_000.0


def work(batch: int, **over: object) -> Work:
    columns: dict[str, object] = {
        "team": 1,
        "weight": 1,
        "priority": 0,
        "model": "m",
        "created": NOW - 100,
        "expires": NOW + 80_000,
    }
    return Work(batch=batch, **(columns | over))  # type: ignore[arg-type]  # built by name


works = st.builds(
    Work,
    batch=st.integers(1, 50),
    team=st.integers(1, 4),
    weight=st.integers(1, 3),
    priority=st.integers(-2, 2),
    model=st.sampled_from(["a", "b"]),
    created=st.floats(NOW - 1000, NOW),
    expires=st.floats(NOW, NOW + 100_000),
)


def batches(found: list[Work]) -> list[int]:
    return [w.batch for w in found]


def test_the_team_with_less_of_its_share_comes_first() -> None:
    a, b = work(1, team=1, priority=9), work(2, team=2)
    assert batches(rank([a, b], load={1: 10, 2: 0}, now=NOW)) == [2, 1]
    # A weight of 3 makes ten in flight count as little as 3.3.
    heavy = work(1, team=1, weight=3)
    assert batches(rank([heavy, b], load={1: 10, 2: 4}, now=NOW)) == [1, 2]


def test_within_a_team_priority_then_deadline_then_age_decide() -> None:
    old = work(1, created=NOW - 500)
    young = work(2, created=NOW - 5)
    at_risk = work(3, created=NOW - 5, expires=NOW + 60)
    urgent = work(4, created=NOW, priority=1)
    found = rank([young, old, at_risk, urgent], load={}, now=NOW)
    assert batches(found) == [4, 3, 1, 2]


@given(st.lists(works, unique_by=lambda w: w.batch), st.integers())
def test_the_order_does_not_depend_on_the_order_of_asking(
    found: list[Work], seed: int
) -> None:
    shuffled = random.Random(seed).sample(found, len(found))
    load = {1: 3.0, 2: 1.0}
    assert rank(found, load=load, now=NOW) == rank(shuffled, load=load, now=NOW)


def choose(ranked: list[Work], **over: object) -> str | None:
    values: dict[str, object] = {
        "loaded": "a",
        "loaded_since": NOW - 50,
        "now": NOW,
        "patience": 300,
    }
    return choose_model(ranked, **(values | over))  # type: ignore[arg-type]  # built by name


def test_an_engine_stays_with_its_model_while_that_has_work() -> None:
    a, b = work(1, model="a"), work(2, model="b", priority=5)
    assert choose([b, a]) == "a"
    assert choose([b]) == "b"
    assert choose([], loaded="a") is None
    assert choose([b, a], loaded=None) == "b"


def test_another_model_waits_no_longer_than_the_patience_and_nobody_thrashes() -> None:
    a, b = work(1, model="a"), work(2, model="b", created=NOW - 400)
    assert choose([a, b], loaded_since=NOW - 400) == "b"
    # The model that was just loaded has its turn first.
    assert choose([a, b], loaded_since=NOW - 10) == "a"


def test_a_batch_of_two_models_waits_no_longer_than_one_of_the_other() -> None:
    # A stream of urgent work keeps the loaded model, and its own work for it, waiting.
    urgent = work(9, model="a", priority=5, created=NOW - 1)
    mixed = [work(1, model=m, created=NOW - 900) for m in ("a", "b")]
    ranked = rank([urgent, *mixed], load={}, now=NOW)
    assert choose(ranked, loaded_since=NOW - 400) == "b"


def test_a_batch_of_two_models_changes_the_model_once() -> None:
    a, b = (work(1, model=model, created=NOW - 900) for model in ("a", "b"))
    assert choose([a, b], loaded_since=NOW - 400) == "a"
    assert choose([b], loaded_since=NOW - 400) == "b"
    # Others do not wait longer for it.
    other = work(2, model="c", created=NOW - 400)
    assert choose([a, b, other], loaded_since=NOW - 400) == "c"


def claims(wanted: Work, queued: dict[Work, int], **over: object) -> bool:
    values: dict[str, object] = {
        "queued_bytes": 0,
        "window": 10,
        "load": {},
        "now": NOW,
    }
    return wants_claim(wanted, queued=queued, **(values | over))  # type: ignore[arg-type]  # built by name


def test_a_window_of_requests_is_kept_ready_and_not_more() -> None:
    mine = work(1)
    assert claims(mine, {})
    assert claims(mine, {mine: 9})
    assert not claims(mine, {mine: 10})
    assert not claims(mine, {mine: 1}, queued_bytes=64_000_000)
    assert not claims(mine, {}, window=0)


def test_an_urgent_batch_is_claimed_beside_a_full_queue() -> None:
    big, urgent = work(1), work(2, priority=3)
    assert claims(urgent, {big: 500})
    assert not claims(work(3, priority=-1), {big: 500})
    # It gets a window's worth too, not one chunk alone.
    assert claims(urgent, {big: 500, urgent: 9})
    assert not claims(urgent, {big: 500, urgent: 10})
    # Many batches, rows and bytes that come later are not in its way either.
    later = {work(n): 100 for n in range(10, 35)}
    assert claims(urgent, later, queued_bytes=90_000_000)
    assert not claims(urgent, later, queued_bytes=128_000_000)
    assert not claims(work(3, priority=-1), later)


def test_an_urgent_batch_does_not_wait_for_others_that_are_as_urgent() -> None:
    big, first, second = work(1), work(2, priority=3), work(3, priority=3)
    # The first one's only row is in flight, so that nothing of it is queued.
    assert claims(second, {big: 500}, load={1: 10.0})
    assert claims(second, {big: 500, first: 1}, load={1: 10.0})


def test_an_urgent_batch_of_a_team_with_much_in_flight_is_claimed() -> None:
    ours, others = work(1, team=1), work(2, team=2)
    urgent = work(3, team=1, priority=9)
    queued = {ours: 100, others: 100}
    assert claims(urgent, queued, load={1: 6.0, 2: 4.0})
    assert not claims(work(4, team=1), queued, load={1: 6.0, 2: 4.0})
    # A team with nothing here comes when it is its turn by the shares.
    stranger = work(5, team=3, priority=9)
    assert claims(stranger, queued, load={1: 6.0, 2: 4.0})
    assert not claims(stranger, queued, load={1: 6.0, 2: 4.0, 3: 7.0})
