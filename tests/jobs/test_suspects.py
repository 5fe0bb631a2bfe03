# SPDX-License-Identifier: Apache-2.0
"""The search for the requests that kill engines, over simulated engines."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engines.incident import MOST_STARTS
from jobs.suspects import DEATHS_ALONE, next_suspect


@dataclass(eq=False)
class Row:
    place: int
    kills: bool
    suspect_group: int = 0
    lonely_deaths: int = 0


@dataclass
class Outcome:
    answered: set[int]
    poison: set[int]
    deaths: int


def run(total: int, killers: set[int], *, window: int, most: int = 10_000) -> Outcome:
    """Run rows as a feeder does until all have a result, or the engine died `most` times.

    Each engine works on a window, or on a part of the suspects when nothing else is
    left; a killer among them takes all of them along.
    """
    rows = [Row(place, place in killers) for place in range(total)]
    found = Outcome(set(), set(), 0)
    while rows and found.deaths < most:
        flying = [row for row in rows if not row.suspect_group][:window]
        while not flying or flying[0].suspect_group:
            waiting = [row for row in rows if row not in flying]
            part = flying[0].suspect_group if flying else 0
            place = next_suspect(waiting, part=part, flying=len(flying))
            if place is None:
                break
            flying.append(waiting[place])
        if any(row.kills for row in flying):
            found.deaths += 1
            for row in flying:
                row.suspect_group = len(flying)
                row.lonely_deaths += len(flying) == 1
            found.poison |= {r.place for r in rows if r.lonely_deaths >= DEATHS_ALONE}
        else:
            found.answered |= {row.place for row in flying}
        ended = found.answered | found.poison
        rows = [row for row in rows if row.place not in ended]
    return found


def test_one_killer_among_256_is_found_within_the_starts_of_an_incident() -> None:
    for place in (0, 1, 15, 16, 127, 128, 254, 255):
        found = run(256, {place}, window=320)
        assert found.poison == {place}
        assert len(found.answered) == 255
        assert found.deaths == 4


def test_two_killers_among_256_are_too() -> None:
    for places in ({0, 255}, {3, 4}, {10, 40}, {127, 128}):
        found = run(256, places, window=256)
        assert found.poison == places
        assert len(found.answered) == 254
        assert found.deaths <= 7 < MOST_STARTS


def test_a_window_of_a_thousand_takes_one_death_more() -> None:
    assert run(1024, {777}, window=1024).deaths == 5


def test_an_engine_that_dies_of_anything_condemns_nobody_before_the_limit() -> None:
    found = run(256, set(range(256)), window=256, most=MOST_STARTS)
    assert found.deaths == MOST_STARTS
    assert found.poison == set()


@given(data=st.data(), total=st.integers(1, 600), window=st.integers(1, 400))
@settings(deadline=None, max_examples=60)
def test_exactly_the_killers_are_found_with_few_deaths(
    data: st.DataObject, total: int, window: int
) -> None:
    places = st.sets(st.integers(0, total - 1), max_size=4)
    killers = data.draw(places)
    found = run(total, killers, window=window)
    assert found.poison == killers
    assert found.answered == set(range(total)) - killers
    # Each needs its window, at most two parts, and two deaths alone.
    assert found.deaths <= 5 * len(killers)
