# SPDX-License-Identifier: Apache-2.0
"""Means, shares and differences, beside SciPy's."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jobs import statistics
from jobs.statistics import (
    Interval,
    mcnemar,
    mean_of,
    paired,
    percentile,
    student,
    student_t,
    wilson,
)

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@pytest.mark.parametrize("freedom", [*range(1, 40), 60, 100, 1000, 100_000])
def test_quantiles_of_students_t_are_scipys(freedom: int) -> None:
    assert student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-4)


@given(VALUES, st.floats(0, 1))
def test_percentiles_are_numpys(values: list[float], share: float) -> None:
    ordered = sorted(values)
    expected = stats.mstats.mquantiles(ordered, [share], alphap=1, betap=1)[0]
    assert percentile(ordered, share) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_the_interval_of_a_mean_is_students() -> None:
    values = [0.2, 0.5, 0.9, 0.4, 0.75]
    found = mean_of(values)
    low, high = stats.t.interval(0.95, 4, loc=sum(values) / 5, scale=stats.sem(values))
    assert found.interval is not None
    assert found.interval.low == pytest.approx(low, abs=1e-4)
    assert found.interval.high == pytest.approx(high, abs=1e-4)
    assert mean_of([0.3]).interval is None
    assert student([1.0, 1.0]) == Interval(1.0, 1.0)
    with pytest.raises(ValueError, match="needs a value"):
        mean_of([])


def test_the_interval_of_a_share_is_wilsons() -> None:
    found = mean_of([1.0] * 7 + [0.0] * 3)
    expected = stats.binomtest(7, 10).proportion_ci(method="wilson")
    assert (found.mean, found.count) == (0.7, 10)
    assert found.interval == wilson(7, 10)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(expected.low)
    assert found.interval.high == pytest.approx(expected.high)


def test_shares_of_the_same_items_are_compared_by_mcnemar() -> None:
    first = [1.0] * 60 + [0.0] * 40
    second = [1.0] * 50 + [0.0] * 10 + [1.0] * 20 + [0.0] * 20
    found = paired(first, second)
    assert found.mean == pytest.approx(0.1)
    assert found.p == mcnemar(10, 20)
    assert found.p == pytest.approx(stats.binomtest(10, 30).pvalue)
    assert not found.is_significant
    assert paired([0.0] * 30, [1.0] * 30).is_significant


def test_scores_of_the_same_items_are_compared_by_the_bootstrap() -> None:
    draw = random.Random(3)
    first = [draw.random() for _ in range(200)]
    better = [one + draw.gauss(0.1, 0.2) for one in first]
    same = [one + draw.gauss(0.0, 0.2) for one in first]
    found = paired(first, better)
    # The same interval as SciPy's, but for what is drawn.
    pairs = [b - a for a, b in zip(first, better, strict=True)]
    expected = stats.bootstrap(
        (pairs,), lambda x, axis: x.mean(axis=axis), method="percentile"
    ).confidence_interval
    assert found.interval.low == pytest.approx(expected.low, abs=0.01)
    assert found.interval.high == pytest.approx(expected.high, abs=0.01)
    assert found.is_significant
    by_signs = stats.permutation_test(
        (first, same),
        lambda a, b: sum(b) - sum(a),
        permutation_type="samples",
        n_resamples=2000,
        random_state=1,
    )
    assert paired(first, same).p == pytest.approx(by_signs.pvalue, abs=0.05)
    assert not paired(first, same).is_significant
    assert paired(first, first).p == 1
    assert paired(first, better) == found
    with pytest.raises(ValueError, match="needs an item"):
        paired([], [])


def test_few_items_are_compared_exactly() -> None:
    first, second = [0.1, 0.5, 0.4, 0.9, 0.2, 0.6], [0.3, 0.45, 0.7, 0.95, 0.6, 0.9]
    expected = stats.permutation_test(
        (first, second), lambda a, b: sum(b) - sum(a), permutation_type="samples"
    )
    assert paired(first, second).p == pytest.approx(expected.pvalue)
    # Two items cannot show anything.
    assert paired([0.1, 0.2], [0.9, 0.8]).p == 0.5


def test_many_items_are_compared_by_the_normal_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = random.Random(4)
    first = [draw.random() for _ in range(1500)]
    second = [one + draw.gauss(0.004, 0.1) for one in first]
    drawn = paired(first, second)
    monkeypatch.setattr(statistics, "MOST_DRAWN", 100)
    limit = paired(first, second)
    assert limit.mean == drawn.mean
    assert limit.interval.low == pytest.approx(drawn.interval.low, abs=0.0015)
    assert limit.interval.high == pytest.approx(drawn.interval.high, abs=0.0015)
    assert limit.p == pytest.approx(drawn.p, abs=0.05)
    assert limit.p == pytest.approx(stats.ttest_rel(second, first).pvalue, rel=0.02)
    shares = [1.0] * 150, [0.0] * 50 + [1.0] * 100
    assert paired(*shares).p == mcnemar(50, 0)
    assert paired(first, first).p == 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_a_difference_is_the_same_the_other_way_round(
    pairs: list[tuple[float, float]],
) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    one, other = paired(first, second), paired(second, first)
    assert one.mean == pytest.approx(-other.mean)
    assert 0 < one.p <= 1
    assert one.interval.low <= one.interval.high
