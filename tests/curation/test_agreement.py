# SPDX-License-Identifier: Apache-2.0
"""Agreement against examples that were published, and where there is no number."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.agreement import (
    Level,
    Unit,
    Weights,
    bootstrap_alpha,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    label_scores,
    pair_matrix,
    percent_agreement,
)

CLOSE = 1e-6
NOMINAL, ORDINAL, INTERVAL = Level


def units(*answers: str) -> list[Unit]:
    """Units of which each argument has one person's answers; a point is none."""
    columns = itertools.zip_longest(*(line.split() for line in answers))
    return [
        {
            f"p{n}": int(value) if value.isdigit() else value
            for n, value in enumerate(column)
            if value != "."
        }
        for column in columns
    ]


# The examples of Krippendorff, "Computing Krippendorff's alpha-reliability" (2011).
BINARY = units("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0")
NAMES = units("a a b b d c c c e d d a", "b a b b b c c c e d d d")
MISSING = units(
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


# The coincidences of MISSING: matches of each value, then pairs of two values.
MATCHES = {1: 7, 2: 10, 3: 8, 4: 4, 5: 3}
THIRDS = {(1, 2): 4, (1, 3): 1, (1, 4): 1, (2, 3): 4, (2, 4): 1, (3, 4): 1}
TIMES = {1: 9, 2: 13, 3: 10, 4: 5, 5: 3}


def nominal(matches: int, times: list[int]) -> Fraction:
    """Alpha of nominal data by the matches and how often each value occurs."""
    n = sum(times)
    same = sum(t * (t - 1) for t in times)
    return Fraction((n - 1) * matches - same, n * (n - 1) - same)


def of_intervals() -> Fraction:
    """Alpha of MISSING as intervals, by its coincidences."""
    seen = sum(Fraction(n, 3) * (a - b) ** 2 for (a, b), n in THIRDS.items())
    pairs = itertools.combinations(TIMES, 2)
    chance = sum(TIMES[a] * TIMES[b] * (a - b) * (a - b) for a, b in pairs)
    return 1 - 39 * Fraction(seen) / chance


@pytest.mark.parametrize(
    ("found", "level", "exact", "published"),
    [
        (BINARY, NOMINAL, nominal(12, [14, 6]), 0.095),
        (NAMES, NOMINAL, nominal(18, [4, 6, 6, 6, 2]), 0.692),
        (MISSING, NOMINAL, nominal(sum(MATCHES.values()), [*TIMES.values()]), 0.743),
        (MISSING, INTERVAL, of_intervals(), 0.849),
    ],
)
def test_alpha_is_the_published_one(
    found: list[Unit], level: Level, exact: Fraction, published: float
) -> None:
    alpha = krippendorff_alpha(found, level=level)
    assert alpha is not None
    assert alpha == pytest.approx(float(exact), abs=CLOSE)
    assert round(alpha, 3) == published


def test_alpha_of_ranks_is_the_published_one() -> None:
    # (half of what shares the rank with each) + (all between): squared.
    ranks = {1: 4.5, 2: 15.5, 3: 27.0, 4: 34.5, 5: 38.5}
    seen = sum(n / 3 * (ranks[a] - ranks[b]) ** 2 for (a, b), n in THIRDS.items())
    chance = sum(
        TIMES[a] * TIMES[b] * (ranks[a] - ranks[b]) ** 2
        for a, b in itertools.combinations(TIMES, 2)
    )
    alpha = krippendorff_alpha(MISSING, level=ORDINAL)
    assert alpha is not None
    assert alpha == pytest.approx(1 - 39 * seen / chance, abs=CLOSE)
    assert round(alpha, 3) == 0.815


def table(*rows: tuple[int, ...]) -> list[tuple[int, int]]:
    """Pairs of answers, of a table of how often each pair occurs."""
    return [
        (a, b)
        for a, row in enumerate(rows)
        for b, n in enumerate(row)
        for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("rows", "exact"),
    [
        # Worked out in Wikipedia's article on Cohen's kappa.
        (((20, 5), (10, 15)), Fraction(2, 5)),
        (((45, 15), (25, 15)), Fraction(60 - 54, 46)),
        (((25, 35), (5, 35)), Fraction(60 - 46, 54)),
    ],
)
def test_kappa_of_two_is_the_published_one(
    rows: tuple[tuple[int, int], ...], exact: Fraction
) -> None:
    assert cohen_kappa(table(*rows)) == pytest.approx(float(exact), abs=CLOSE)


@pytest.mark.parametrize(
    ("weights", "published"),
    [(Weights.NONE, 0.4728), (Weights.LINEAR, 0.5684), (Weights.QUADRATIC, 0.6714)],
)
def test_weighted_kappa_is_the_published_one(
    weights: Weights, published: float
) -> None:
    # 85 mammograms read by two radiologists: Stata's manual, kappa, examples 1 and 2.
    read = table((21, 12, 0, 0), (4, 17, 1, 0), (3, 9, 15, 2), (0, 0, 0, 1))
    kappa = cohen_kappa(read, weights=weights)
    assert kappa is not None
    assert round(kappa, 4) == published
    # By the formula: 1 - sum(v o) / sum(v e), with the distance v on the scale of four.
    power = {Weights.NONE: 0, Weights.LINEAR: 1, Weights.QUADRATIC: 2}[weights]
    left, right = (33, 22, 29, 1), (28, 38, 16, 3)

    def cost(a: int, b: int) -> Fraction:
        return Fraction(int(a != b) * abs(a - b) ** power, 3**power)

    seen = sum(cost(a, b) for a, b in read)
    chance = sum(
        cost(a, b) * left[a] * right[b] for a in range(4) for b in range(4)
    ) / Fraction(85)
    assert kappa == pytest.approx(float(1 - seen / chance), abs=CLOSE)


def test_kappa_of_many_is_the_published_one() -> None:
    # Fourteen people, ten subjects, five categories: Wikipedia's article on Fleiss'.
    rows = """0 0 0 0 14|0 2 6 4 2|0 0 3 5 6|0 3 9 2 0|2 2 8 1 1
    7 7 0 0 0|3 2 6 3 0|2 5 3 2 2|6 5 2 1 0|0 2 2 3 7""".replace("\n", "|")
    counts = [[int(n) for n in row.split()] for row in rows.split("|")]
    found: list[Unit] = [
        dict(enumerate_people(c for c, n in enumerate(row) for _ in range(n)))
        for row in counts
    ]
    equal = Fraction(sum(n * (n - 1) for row in counts for n in row), 10 * 14 * 13)
    chance = sum(
        Fraction(sum(column), 140) ** 2 for column in zip(*counts, strict=True)
    )
    kappa = fleiss_kappa(found)
    assert kappa is not None
    assert kappa == pytest.approx(float((equal - chance) / (1 - chance)), abs=CLOSE)
    assert round(kappa, 3) == 0.210
    assert percent_agreement(found) == pytest.approx(float(equal), abs=CLOSE)


def enumerate_people(values: Iterable[int]) -> list[tuple[str, int]]:
    return [(f"p{n}", value) for n, value in enumerate(values)]


@pytest.mark.parametrize(
    "found",
    [
        [],
        [{"a": 1}, {"b": 2}],
        # Where all say the same, chance explains all.
        [{"a": 1, "b": 1}, {"a": 1, "b": 1}],
    ],
)
def test_without_enough_answers_there_is_no_number(found: list[Unit]) -> None:
    for level in Level:
        assert krippendorff_alpha(found, level=level) is None
        assert bootstrap_alpha(found, level=level) is None
    assert fleiss_kappa(found) is None
    assert (
        cohen_kappa([(unit["a"], unit["b"]) for unit in found if len(unit) > 1]) is None
    )
    assert fleiss_kappa([{"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 1}]) is None


def test_the_interval_holds_alpha_and_is_narrow_with_many_units() -> None:
    widths = []
    for times in (1, 30):
        found = MISSING * times
        interval = bootstrap_alpha(found, level=ORDINAL)
        alpha = krippendorff_alpha(found, level=ORDINAL)
        assert interval is not None
        assert alpha is not None
        assert interval.low < alpha < interval.high
        assert interval == bootstrap_alpha(found, level=ORDINAL)
        widths.append(interval.high - interval.low)
    assert widths[1] < widths[0] / 3


def test_each_pair_of_people_is_told_apart() -> None:
    found: list[Unit] = [
        {"ann": 1, "bob": 1},
        {"ann": 2, "bob": 2, "cat": 1},
        {"ann": 1, "bob": 2},
    ]
    told = {(p.first, p.second): (p.units, p.kappa) for p in pair_matrix(found)}
    assert told == {
        ("ann", "bob"): (3, pytest.approx(0.4)),
        ("ann", "cat"): (1, 0.0),
        ("bob", "cat"): (1, 0.0),
    }


def test_a_judge_is_measured_label_by_label() -> None:
    pairs = (
        [("yes", "yes")] * 3 + [("yes", "no")] + [("no", "no")] * 2 + [("no", "yes")]
    )
    no, yes = label_scores(pairs)
    assert (yes.label, yes.people, yes.judge) == ("yes", 4, 4)
    assert (yes.precision, yes.recall, yes.f1) == (0.75, 0.75, 0.75)
    assert no.precision == no.recall == pytest.approx(2 / 3)


ANSWERS = st.lists(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5), max_size=4), max_size=20
)


@given(ANSWERS)
def test_alpha_is_at_most_one_and_one_where_all_agree(
    found: list[dict[str, int]],
) -> None:
    for level in Level:
        alpha = krippendorff_alpha(found, level=level)
        assert alpha is None or alpha <= 1 + CLOSE
        # Who the people are does not matter.
        named: list[Unit] = [
            {f"{n}{k}": v for n, v in u.items()} for k, u in enumerate(found)
        ]
        assert krippendorff_alpha(named, level=level) == alpha
        agreed: list[Unit] = [dict.fromkeys(u, max(u.values())) for u in found if u]
        whole = krippendorff_alpha(agreed, level=level)
        assert whole is None or whole == pytest.approx(1)


def test_many_units_have_the_interval_of_their_size() -> None:
    few = [{"a": n % 2, "b": n % 2 if n % 10 else 1 - n % 2} for n in range(2000)]
    small = bootstrap_alpha(few, level=NOMINAL)
    # More than are drawn one by one.
    large = bootstrap_alpha(few * 20, level=NOMINAL)
    assert small is not None and large is not None
    widths = [one.high - one.low for one in (small, large)]
    # The width goes with the root of the number: 1 to 4.5.
    assert 3 < widths[0] / widths[1] < 7
    alpha = krippendorff_alpha(few, level=NOMINAL)
    assert alpha is not None
    assert large.low < alpha < large.high
