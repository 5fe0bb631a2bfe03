# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from jobs.scheduling import Shares, Work, next_claim, rank, wants_claim

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


def claims(wanted: Work, queued: dict[Work, int], **over: object) -> bool:
    values: dict[str, object] = {
        "queued_bytes": 0,
        "window": 10,
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
    assert claims(second, {big: 500})
    assert claims(second, {big: 500, first: 1})


def test_what_other_teams_have_here_bars_no_team_from_its_share() -> None:
    ours, others = work(1, team=1), work(2, team=2)
    queued = {ours: 100, others: 100}
    assert claims(work(3, team=1, priority=9), queued)
    assert not claims(work(4, team=1), queued)
    # All rows of a third one may be in flight: its next ones must be here in time.
    assert claims(work(5, team=3), queued)


def next_of(claimable: list[Work], queued: dict[Work, int], **over: object) -> int:
    values: dict[str, object] = {"queued_bytes": 0, "window": 10, "load": {}}
    found = next_claim(claimable, queued=queued, now=NOW, **(values | over))  # type: ignore[arg-type]  # built by name
    return found.batch if found else 0


def test_the_first_work_of_the_team_that_comes_next_is_claimed() -> None:
    first, later, other = work(1, priority=1), work(2), work(3, team=2)
    assert next_of([later, first, other], {}) == 1
    assert next_of([later, first, other], {}, load={1: 2.0}) == 3
    assert next_of([later, first, other], {first: 10}) == 3
    # What comes later waits for its team's first, and for nothing else.
    assert next_of([later, first], {first: 10}) == 0
    assert next_of([later], {first: 9}) == 2


def test_where_loads_are_equal_who_was_given_less_comes_first() -> None:
    old, new = work(1, team=1, priority=9, weight=3), work(2, team=2)
    shares = Shares()
    shares.join(1, [])
    for _ in range(6):
        shares.give(old)
        shares.take_back(old)
    # Who comes new has no claim on what it missed.
    shares.join(2, [1])
    given = []
    for _ in range(8):
        chosen = rank([old, new], load=shares.load, now=NOW, spent=shares.spent)[0]
        shares.give(chosen)
        shares.take_back(chosen)
        given.append(chosen.batch)
    assert sorted(given) == [1] * 6 + [2] * 2
