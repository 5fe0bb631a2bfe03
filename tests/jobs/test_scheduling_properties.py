# SPDX-License-Identifier: Apache-2.0
"""What the order of work promises, over simulated arrivals."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from .simulated_queue import (
    DRAIN,
    STAY,
    TICK,
    WAIT,
    Machine,
    Simulation,
    Submission,
)

ENDLESS = 10**6
# Made to be at risk from the beginning, soon, and not.
expires = st.sampled_from([3_000.0, 3_640.0, 90_000.0])
machines = st.lists(
    st.builds(
        Machine,
        places=st.integers(1, 5),
        load=st.sampled_from([0.5, 2.0, 5.0]),
        swaps=st.booleans(),
    ),
    min_size=1,
    max_size=2,
)
weights = st.fixed_dictionaries({team: st.integers(1, 4) for team in (1, 2, 3)})


@st.composite
def traces(draw: st.DrawFn) -> list[Submission]:
    """Some batches of three teams and three models, within a minute and a half."""
    weight = draw(weights)
    return [
        Submission(
            batch,
            at=draw(st.integers(0, 90)) * 1.0,
            rows=draw(st.integers(1, 60)),
            seconds=draw(st.sampled_from([1.0, 2.0, 9.0])),
            team=(team := draw(st.sampled_from([1, 2, 3]))),
            weight=weight[team],
            priority=draw(st.integers(-1, 2)),
            model=draw(st.sampled_from("abc")),
            expires_after=draw(expires),
        )
        for batch in range(1, draw(st.integers(1, 7)) + 1)
    ]


@given(machines, traces())
@settings(max_examples=40)
def test_everything_ends_no_place_stays_free_and_the_order_holds(
    engines: list[Machine], trace: list[Submission]
) -> None:
    done = Simulation(engines, trace)
    # As if all ran one after the other, with a swap and a drain for every row.
    rows = sum(s.rows for s in trace)
    longest = sum(s.rows * s.seconds for s in trace) + rows * (DRAIN + 5 + 2 * TICK)
    done.run(until=90 + longest + 60)
    assert done.broken == []
    assert done.ended.keys() == {s.batch for s in trace}
    assert len(done.started) == rows + done.cut_off


@given(machines, traces(), st.integers())
@settings(max_examples=25)
def test_the_same_arrivals_run_in_the_same_order(
    engines: list[Machine], trace: list[Submission], seed: int
) -> None:
    shuffled = random.Random(seed).sample(trace, len(trace))
    first, second = (Simulation(engines, t).run(2_000) for t in (trace, shuffled))
    assert first.started == second.started
    assert first.swaps == second.swaps


@given(machines, traces())
@settings(max_examples=25)
def test_no_engine_lets_go_of_a_model_with_work_before_its_time(
    engines: list[Machine], trace: list[Submission]
) -> None:
    done = Simulation(engines, trace).run(2_000)
    for swap in done.swaps:
        load = engines[swap.engine].load
        if swap.had_work and swap.old is not None:
            assert swap.held >= max(STAY, 3 * load)
    for number, engine in enumerate(engines):
        early = [s for s in done.swaps if s.engine == number and s.had_work and s.old]
        assert len(early) <= done.now / (max(STAY, 3 * engine.load) + engine.load) + 1


@st.composite
def endless(draw: st.DrawFn, models: str, teams: list[int]) -> list[Submission]:
    """Work of every model that never ends, and is urgent and at risk as it likes."""
    weight = {team: draw(st.integers(1, 9)) for team in teams}
    return [
        Submission(
            100 + number,
            at=0.0,
            rows=ENDLESS,
            seconds=draw(st.sampled_from([1.0, 3.0, 20.0])),
            team=(team := draw(st.sampled_from(teams))),
            weight=weight[team],
            priority=draw(st.integers(-5, 100)),
            model=model,
            expires_after=draw(expires),
        )
        for number, model in enumerate(models)
    ]


@given(endless("aaa", [2, 3]), st.integers(1, 6), st.integers(1, 12))
@settings(max_examples=25)
def test_no_team_starves_beside_endless_work_of_others(
    rivals: list[Submission], places: int, rows: int
) -> None:
    mine = Submission(1, at=50.0, rows=rows, seconds=2.0, team=1, priority=-50)
    engine = Machine(places, swaps=False)
    longest = max(s.seconds for s in rivals)
    # With a place for each team it gets the next one, whenever none of it runs; with
    # fewer it gets one of so many.
    whole = mine.weight + sum({s.team: s.weight for s in rivals}.values())
    turn = (1 if places > 2 else whole) * longest
    bound = mine.at + rows * (turn + mine.seconds + TICK) + 2 * longest
    done = Simulation([engine], [mine, *rivals]).run(bound)
    assert 1 in done.ended
    assert done.broken == []


@given(endless("bcd", [1, 2, 3]), st.integers(1, 3), st.integers(-50, 0))
@settings(max_examples=25)
def test_no_model_waits_for_longer_than_all_others_have_their_turns(
    rivals: list[Submission], places: int, priority: int
) -> None:
    mine = Submission(1, at=45.0, rows=1, seconds=2.0, team=1, priority=priority)
    engine = Machine(places, load=2.0)
    turn = WAIT + DRAIN + engine.load + 2 * TICK
    # Each of the others once, and before each of them, and before it, one that jumps.
    bound = mine.at + WAIT + 2 * (len(rivals) + 1) * turn
    done = Simulation([engine], [mine, *rivals]).run(bound)
    assert 1 in done.ended


@given(endless("b", [2]), st.integers(1, 3), st.integers(-50, 100))
@settings(max_examples=20)
def test_another_model_is_loaded_when_it_waited_for_its_time(
    rivals: list[Submission], places: int, priority: int
) -> None:
    mine = Submission(1, at=60.0, rows=1, seconds=2.0, priority=priority)
    engine = Machine(places, load=2.0)
    bound = mine.at + WAIT + DRAIN + engine.load + 2 * TICK
    done = Simulation([engine], [mine, *rivals]).run(bound)
    loaded = [at for at, _, model in done.ready if model == "a"]
    assert loaded
    if priority > 0:
        assert loaded[0] <= mine.at + DRAIN + engine.load + 3 * TICK


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.sampled_from([1.0, 2.0, 7.0])),
        min_size=2,
        max_size=4,
    ),
    st.integers(2, 12),
)
@settings(max_examples=25)
def test_places_follow_the_weights(teams: list[tuple[int, float]], places: int) -> None:
    trace = [
        Submission(n, at=0.0, rows=ENDLESS, seconds=seconds, team=n, weight=weight)
        for n, (weight, seconds) in enumerate(teams, start=1)
    ]
    done = Simulation([Machine(places, swaps=False)], trace)
    whole = sum(weight for weight, _ in teams)
    # The very first rows come while the other teams' are not here yet.
    for second in range(9, 50):
        done.run(float(second))
        load = done.feeders[0].shares.load
        assert sum(load.values()) == places
        for team, (weight, _) in enumerate(teams, start=1):
            # No team gets a place above its share while another one is below its own.
            assert load[team] < places * weight / whole + 1


@given(st.integers(1, 4), st.integers(1, 4), st.booleans(), st.integers(1, 4))
@settings(max_examples=20)
def test_time_follows_the_weights_across_models(
    first: int, second: int, urgent: bool, places: int
) -> None:
    trace = [
        Submission(1, 0.0, ENDLESS, 1.0, team=1, weight=first, model="a"),
        Submission(
            2, 0.0, ENDLESS, 1.0, team=2, weight=second, model="b", priority=9 * urgent
        ),
    ]
    done = Simulation([Machine(places, load=0.5)], trace).run(40 * WAIT)
    rows = Counter(work.team for _, _, work in done.started)
    share = rows[1] / (rows[1] + rows[2])
    # One team says that all its work is urgent: that gives it no more than its share.
    assert abs(share - first / (first + second)) < 0.1


def test_urgent_work_for_another_model_has_it_after_the_shortest_stay() -> None:
    large = Submission(1, 0.0, ENDLESS, 2.0, model="a")
    urgent = Submission(2, 100.0, 10, 2.0, model="b", priority=5)
    done = Simulation([Machine(4)], [large, urgent]).run(200)
    assert done.ended[2] < 100 + TICK + DRAIN + 2 + 3 * 2.0 + 2 * TICK
    # And then the engine goes back: b has nothing left.
    assert [swap.model for swap in done.swaps][:3] == ["a", "b", "a"]
    assert done.cut_off == 0


def test_requests_longer_than_the_drain_run_again_elsewhere_in_time() -> None:
    large = Submission(1, 0.0, 8, 20.0, model="a")
    urgent = Submission(2, 10.0, 1, 1.0, model="b", priority=5)
    done = Simulation([Machine(4)], [large, urgent]).run()
    assert done.cut_off == 4
    assert done.ended[2] < 10 + TICK + DRAIN + 2 + 1 + 2 * TICK
    assert set(done.ended) == {1, 2}


def test_two_engines_do_not_swap_for_the_same_work() -> None:
    trace = [
        Submission(1, 0.0, ENDLESS, 2.0, model="a"),
        Submission(2, 20.0, ENDLESS, 2.0, model="b"),
    ]
    done = Simulation([Machine(2), Machine(2)], trace).run(20 * WAIT)
    assert [swap.model for swap in done.swaps] == ["a", "a", "b"]
