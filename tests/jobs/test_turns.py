# SPDX-License-Identifier: Apache-2.0
"""Which model an engine holds."""

from __future__ import annotations

from typing import Any

from jobs.scheduling import Work, rank
from jobs.turns import Patience, Turns

from .test_scheduling import NOW, work

PATIENCE = Patience(stay=20, wait=300)


def choose(found: list[Work], turns: Turns | None = None, **over: Any) -> str | None:
    values: dict[str, Any] = {
        "loaded": "a",
        "loaded_since": NOW - 50,
        "now": NOW,
        "patience": PATIENCE,
    } | over
    ranked = rank(found, load={}, now=NOW)
    return (turns or Turns()).choose(ranked, **values)


def accounts(a: float, b: float, *, weights: tuple[int, int] = (1, 1)) -> Turns:
    """Team 1 had the engine for `a` seconds, team 2 for `b`."""
    turns = Turns()
    both = [work(n, team=n, weight=w) for n, w in enumerate(weights, start=1)]
    turns.note(both, loaded=None, load={}, now=0)
    turns.note(both, loaded=None, load={1: 4.0}, now=a)
    turns.note(both, loaded=None, load={2: 4.0}, now=a + b)
    return turns


def test_an_engine_stays_with_its_model_while_that_has_work() -> None:
    a, b = work(1, model="a"), work(2, model="b")
    assert choose([b, a]) == "a"
    assert choose([b]) == "b"
    assert choose([]) is None
    assert choose([b, a], loaded=None) == "a"


def test_another_model_waits_no_longer_than_the_patience_and_nobody_thrashes() -> None:
    a, b = work(1, model="a"), work(2, model="b", created=NOW - 400)
    assert choose([a, b], loaded_since=NOW - 400) == "b"
    # The model that was just loaded has its turn first.
    assert choose([a, b], loaded_since=NOW - 100) == "a"


def test_a_batch_of_two_models_waits_no_longer_than_one_of_the_other() -> None:
    # A stream of urgent work keeps the loaded model, and its own work for it, waiting.
    urgent = work(9, model="a", priority=5, created=NOW - 1)
    mixed = [work(1, model=m, created=NOW - 900) for m in ("a", "b")]
    assert choose([urgent, *mixed], loaded_since=NOW - 400) == "b"


def test_a_batch_of_two_models_changes_the_model_once() -> None:
    a, b = (work(1, model=model, created=NOW - 900) for model in ("a", "b"))
    assert choose([a, b], loaded_since=NOW - 400) == "a"
    assert choose([b], loaded_since=NOW - 400) == "b"
    # Others do not wait longer for it.
    other = work(2, model="c", created=NOW - 400)
    assert choose([a, b, other], loaded_since=NOW - 400) == "c"


def test_the_model_that_waited_longest_comes_next_however_old_its_batch() -> None:
    a, b, c = (work(n, model=m, created=n) for n, m in enumerate("abc"))
    turns = Turns()
    turns.note([a, b, c], loaded="b", load={}, now=NOW - 400)
    # b is older, and had its turn since.
    assert choose([a, b, c], turns, loaded_since=NOW - 400) == "c"


def test_urgent_work_waits_for_the_shortest_stay_alone() -> None:
    a, urgent = work(1, model="a"), work(2, model="b", priority=1, created=NOW)
    assert choose([a, urgent]) == "b"
    assert choose([a, urgent], loaded_since=NOW - 19) == "a"
    # What is as urgent stays.
    assert choose([work(1, model="a", priority=1), urgent]) == "a"


def test_a_deadline_at_risk_is_urgent_at_the_same_priority() -> None:
    late = work(2, model="b", created=NOW, expires=NOW + 600)
    assert choose([work(1, model="a"), late]) == "b"
    assert choose([work(1, model="a", expires=NOW + 900), late]) == "a"
    assert choose([work(1, model="a", priority=1), late]) == "a"


def test_a_team_with_nothing_for_the_loaded_model_says_what_is_urgent() -> None:
    theirs = work(1, model="a", team=2, priority=50)
    assert choose([theirs, work(2, model="b")]) == "a"
    assert choose([theirs, work(2, model="b", priority=1)]) == "b"
    assert choose([theirs, work(2, model="b", expires=NOW + 600)]) == "b"
    lowly = work(2, model="b", priority=-1, expires=NOW + 600)
    assert choose([theirs, lowly]) == "a"


def test_urgency_gives_no_more_than_a_teams_share() -> None:
    theirs = work(1, model="a", team=1)
    urgent = work(2, model="b", team=2, priority=9)
    assert choose([theirs, urgent], accounts(100, 110)) == "b"
    assert choose([theirs, urgent], accounts(100, 130)) == "a"


def test_a_team_that_the_engine_owes_a_turn_has_it_sooner() -> None:
    theirs, mine = work(1, model="a", team=1), work(2, model="b", team=2)
    assert choose([theirs, mine], accounts(330, 20)) == "b"
    assert choose([theirs, mine], accounts(310, 20)) == "a"
    # In its own time: a third of the account is as much for a weight of three.
    heavy = work(2, model="b", team=2, weight=3)
    assert choose([theirs, heavy], accounts(130, 20, weights=(1, 3))) == "b"


def test_who_comes_new_is_owed_nothing() -> None:
    turns = Turns()
    theirs = work(1, model="a", team=1)
    turns.note([theirs], loaded="a", load={1: 4.0}, now=NOW - 9000)
    turns.note([theirs], loaded="a", load={1: 4.0}, now=NOW - 1)
    mine = work(2, model="b", team=2, created=NOW - 1)
    turns.note([theirs, mine], loaded="a", load={1: 4.0}, now=NOW)
    assert choose([theirs, mine], turns) == "a"


def test_no_two_urgent_ones_in_a_row_pass_over_what_waited_long_enough() -> None:
    turns = Turns()
    a, old = work(1, model="a", team=1), work(2, model="c", team=2, created=NOW - 900)
    urgent = work(3, model="b", team=3, priority=9, created=NOW)
    assert choose([a, old, urgent], turns) == "b"
    again = work(4, model="d", team=4, priority=9, created=NOW)
    held = work(3, model="b", team=3)
    assert choose([held, old, again], turns, loaded="b") == "c"


def test_what_another_engine_holds_waits_for_nothing() -> None:
    a, b, c = (work(n, model=m, created=NOW - 400 - n) for n, m in enumerate("abc"))
    at_once: dict[str, Any] = {"loaded_since": NOW - 400}
    assert choose([a, b, c], **at_once) == "c"
    assert choose([a, b, c], **at_once, elsewhere={"c"}) == "b"
    assert choose([a, b], **at_once, elsewhere={"b"}) == "a"
    # With nothing else to do it helps.
    assert choose([b, c], elsewhere={"c"}) == "b"
    assert choose([b], elsewhere={"b"}) == "b"


def test_a_model_that_loads_for_long_stays_for_longer() -> None:
    found = Patience.of(stay=20, wait=300, load_seconds=2)
    assert found == Patience(20, 300)
    assert Patience.of(stay=20, wait=300, load_seconds=60) == Patience(180, 300)
    assert Patience.of(stay=20, wait=300, load_seconds=200) == Patience(600, 600)
