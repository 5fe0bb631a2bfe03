# SPDX-License-Identifier: Apache-2.0
"""How the window shrinks and grows, for all orders of answers and trouble."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from jobs.window import HALVING_SECONDS, Window

targets = st.integers(1, 400)
# What happens, seconds after what happened before, and what it happens beside.
events = st.lists(
    st.tuples(
        st.sampled_from(["answered", "trouble", "refused", "resize"]),
        st.floats(0, 3),
        st.integers(0, 400),
    ),
    max_size=60,
)


def play(window: Window, happenings: list[tuple[str, float, int]]) -> float:
    """Let all of it happen; the time at the end. The bounds hold at each step."""
    now = 0.0
    for kind, passed, number in happenings:
        now += passed
        if kind == "answered":
            window.answered()
        elif kind == "trouble":
            window.trouble(now)
        elif kind == "refused":
            window.refused(now, number)
        else:
            window.resize(number)
        assert 1 <= window.places <= window.target
    return now


@given(targets, events)
def test_it_is_never_under_one_nor_over_its_target(
    target: int, happenings: list[tuple[str, float, int]]
) -> None:
    play(Window(target), happenings)


@given(targets, events)
def test_it_is_full_again_after_twenty_answers_for_each_place(
    target: int, happenings: list[tuple[str, float, int]]
) -> None:
    window = Window(target)
    play(window, happenings)
    for _ in range(20 * window.target):
        window.answered()
    assert window.places == window.target


@given(targets, events, st.lists(st.floats(0, 0.02), max_size=40))
def test_one_hiccup_halves_it_once_however_many_rows_it_fails(
    target: int, happenings: list[tuple[str, float, int]], later: list[float]
) -> None:
    window = Window(target)
    # Twice as long: a sum of many steps may fall short of one second by a rounding.
    now = play(window, happenings) + 2 * HALVING_SECONDS
    before = window.places
    window.trouble(now)
    halved = window.places
    assert halved >= max(1, before // 2)
    for passed in later:
        now += passed
        window.trouble(now)
    assert window.places == halved


@given(targets)
def test_trouble_that_lasts_leaves_one_place(target: int) -> None:
    window = Window(target)
    for second in range(math.ceil(math.log2(target)) + 1):
        window.trouble(float(second))
    assert window.places == 1


def test_refusals_show_how_many_places_there_are() -> None:
    window = Window(64)
    # 64 are sent, 8 are taken: each refused one leaves the window.
    for beside in range(63, 7, -1):
        window.refused(10.0, beside)
    assert window.places == 8


def test_near_the_last_trouble_it_grows_slowly_and_then_fast_again() -> None:
    window = Window(64)
    for beside in range(63, 7, -1):
        window.refused(10.0, beside)
    needed = []
    for places in range(9, 20):
        answers = 0
        while window.places < places:
            window.answered()
            answers += 1
        needed.append(answers)
    assert needed[:2] == [20, 20]
    assert needed[-1] == 5


def test_another_size_is_used_at_once_unless_there_is_trouble() -> None:
    window = Window(8)
    window.resize(40)
    assert window.places == 40
    window.trouble(1.0)
    window.resize(80)
    assert window.places == 20
    window.resize(4)
    assert window.places == 4
