# SPDX-License-Identifier: Apache-2.0
"""Pairwise votes against examples that were published."""

from __future__ import annotations

import pytest

from curation.preferences import (
    Vote,
    bradley_terry,
    position_bias,
    win_rates,
)
from jobs.statistics import fair_coin, mcnemar, wilson


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        # Newcombe (1998), Two-sided confidence intervals, table I, score method.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_of_a_share_is_the_published_one(
    successes: int, count: int, low: float, high: float
) -> None:
    interval = wilson(successes, count)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


TEAMS = (
    "Milwaukee",
    "Detroit",
    "Toronto",
    "New York",
    "Boston",
    "Cleveland",
    "Baltimore",
)
# Wins of the row over the column in 1987: Agresti, Categorical Data Analysis, 10.6.
WINS = (
    (0, 7, 9, 7, 7, 9, 11),
    (6, 0, 7, 5, 11, 9, 9),
    (4, 6, 0, 7, 7, 8, 12),
    (6, 8, 6, 0, 6, 7, 10),
    (6, 2, 6, 7, 0, 7, 12),
    (4, 4, 5, 6, 6, 0, 6),
    (2, 4, 1, 3, 1, 7, 0),
)
GAMES = [
    Vote(TEAMS[a], TEAMS[b], TEAMS[a])
    for a, row in enumerate(WINS)
    for b, n in enumerate(row)
    for _ in range(n)
]


def test_strengths_are_the_published_ones() -> None:
    found = bradley_terry(GAMES)
    assert found is not None
    strength = {one.name: one.strength for one in found}
    against = {name: round(strength[name] - strength["Baltimore"], 2) for name in TEAMS}
    assert list(against.values()) == [1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0]
    assert [one.name for one in found] == list(TEAMS)
    assert sum(strength.values()) == pytest.approx(0, abs=1e-9)
    # At the maximum everybody's expected wins are those that he has.
    odds = {name: 2.718281828459045 ** strength[name] for name in TEAMS}
    for a, row in enumerate(WINS):
        met = [row[b] + WINS[b][a] for b in range(7)]
        mine = odds[TEAMS[a]]
        expected = sum(n * mine / (mine + odds[TEAMS[b]]) for b, n in enumerate(met))
        assert expected == pytest.approx(sum(row), abs=1e-6)


def test_what_never_lost_has_no_strength() -> None:
    assert bradley_terry([]) is None
    assert bradley_terry([Vote("a", "b", "a")] * 5) is None
    # Two groups that never met.
    apart = [Vote("a", "b", None), Vote("c", "d", None)]
    assert bradley_terry(apart) is None
    even = bradley_terry([Vote("a", "b", None)])
    assert even is not None
    assert [(one.name, one.strength, one.votes) for one in even] == [
        ("a", 0.0, 1),
        ("b", 0.0, 1),
    ]


def test_a_win_rate_counts_ties_as_halves_and_sides_alike() -> None:
    votes = [Vote("b", "a", "a"), Vote("a", "b", "a"), Vote("a", "b", None)]
    (rate,) = win_rates([*votes, Vote("b", "a", "b")])
    assert (rate.first, rate.second) == ("a", "b")
    assert (rate.wins, rate.losses, rate.ties, rate.votes) == (2, 1, 1, 4)
    assert rate.rate == 0.625
    assert rate.interval.low < 0.625 < rate.interval.high


def test_a_pull_to_one_side_shows() -> None:
    left = [Vote("a", "b", "a"), Vote("b", "a", "b")] * 10
    bias = position_bias([*left, Vote("a", "b", None)])
    assert bias is not None
    assert (bias.left, bias.right, bias.share) == (20, 0, 1.0)
    assert bias.p == pytest.approx(2 / 2**20)
    assert position_bias([Vote("a", "b", None)]) is None


@pytest.mark.parametrize(
    ("heads", "count", "p"),
    [
        (5, 10, 1.0),
        # Twice the sum of the tail's binomial coefficients, by 2 to the power of n.
        (1, 10, 2 * 11 / 1024),
        (9, 10, 2 * 11 / 1024),
        (8, 10, 2 * 56 / 1024),
    ],
)
def test_a_fair_coin_is_judged_exactly(heads: int, count: int, p: float) -> None:
    assert fair_coin(heads, count) == pytest.approx(p)


def test_the_normal_limit_goes_on_where_the_exact_test_ends() -> None:
    exact, limit = fair_coin(470, 1000), fair_coin(470, 1001)
    assert limit == pytest.approx(exact, rel=0.1)


def test_mcnemar_of_a_published_example() -> None:
    # Agresti, A. (2002). Categorical Data Analysis (2nd ed.), table 10.1: 150 and 86 of
    # 1,600 changed their mind; the normal test has z = 4.17, two-sided p about 3e-5.
    assert 1e-5 < mcnemar(150, 86) < 5e-5
    # By hand: of 10 that differ 1 fell the other way, (1 + 10) / 2 ** 9.
    assert mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(4, 4) == 1.0
