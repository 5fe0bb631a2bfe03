# SPDX-License-Identifier: Apache-2.0
"""The estimate of a running batch's end, as pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jobs.eta import Eta, Left, Sample, eta, moving_rate

NOW = 1_000_000.0


def steady(
    *, rows: int = 10, tokens: int = 500, count: int = 36, until: float = NOW
) -> list[Sample]:
    """Samples of 10 s each, the last of which ends at `until`."""
    return [Sample(until - 10 * n, 10.0, rows, tokens) for n in range(count)]


def left(rows: int = 1000, **over: float) -> Left:
    columns = {"answered": 1000, "tokens": 50_000, "age": 1000.0}
    return Left(rows=rows, **(columns | over))  # type: ignore[arg-type]  # built by name


def ends(found: Eta) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


samples = st.lists(
    st.builds(
        Sample,
        at=st.floats(NOW - 900, NOW),
        seconds=st.floats(1, 20),
        rows=st.integers(0, 1000),
        tokens=st.integers(0, 100_000),
        request_seconds=st.floats(0, 5000),
    ),
    max_size=60,
)
lefts = st.builds(
    Left,
    rows=st.integers(-3, 10**7),
    answered=st.integers(0, 10**6),
    tokens=st.integers(0, 10**9),
    age=st.floats(0, 10**6),
    usual=st.none() | st.floats(0, 10_000),
)


def test_a_steady_rate_is_that_rate() -> None:
    found = moving_rate(steady(), NOW)
    assert (found.rows, found.tokens) == pytest.approx((1, 50))
    assert found.last == NOW


def test_engines_that_work_together_add_up() -> None:
    assert moving_rate(steady() * 2, NOW).tokens == pytest.approx(100)


def test_newer_samples_weigh_more() -> None:
    """After five minutes at another rate 1 - 1/e of the difference is there."""
    old = steady(tokens=0, rows=0, count=60, until=NOW - 300)
    found = moving_rate(steady(count=30) + old, NOW)
    weight = (1 - 1 / 2.718281828) / (1 - 2.718281828**-3)
    assert found.tokens == pytest.approx(50 * weight, rel=0.01)


def test_the_range_holds_what_a_steady_rate_gives() -> None:
    # 1,000 rows of 50 tokens each at 50 tokens a second
    assert ends(eta(left(), steady(), NOW)) == pytest.approx((900, 1100))


def test_nothing_is_said_before_20_answers_or_half_a_minute() -> None:
    young = left(answered=19, age=29.0)
    assert eta(young, steady(), NOW).low is None
    assert "20 answers" in eta(young, steady(), NOW).reason
    assert eta(left(answered=20, age=29.0), steady(), NOW).low is not None
    assert eta(left(answered=19, age=30.0), steady(), NOW).low is not None


def test_what_was_expected_counts_until_there_are_answers_enough() -> None:
    few = left(answered=10, tokens=100, usual=200.0)
    many = left(answered=20, tokens=200, usual=200.0)
    assert ends(eta(few, steady(), NOW))[0] == pytest.approx(900 * 4)
    assert ends(eta(many, steady(), NOW))[0] == pytest.approx(900 / 5)


def test_without_tokens_requests_count() -> None:
    found = eta(left(tokens=0), steady(tokens=0), NOW)
    assert ends(found)[0] == pytest.approx(900)


def test_the_last_answers_take_as_long_as_an_answer_takes() -> None:
    some = [Sample(NOW - 10 * n, 10.0, 10, 500, 400.0) for n in range(36)]
    # 40 requests at once, one a second: each takes 40 s
    assert ends(eta(left(3), some, NOW))[1] == pytest.approx(40)


def test_without_answers_the_reason_is_said() -> None:
    assert eta(left(), [], NOW).reason
    assert eta(left(answered=0, tokens=0), [], NOW).reason
    assert eta(left(0), [], NOW) == Eta(0.0, 0.0)


@given(lefts, samples)
def test_it_is_a_range_or_a_reason_and_never_below_zero(
    what: Left, taken: Sequence[Sample]
) -> None:
    found = eta(what, taken, NOW)
    if found.low is None or found.high is None:
        assert found.low is found.high is found.middle is None
        assert found.reason
        return
    assert 0 <= found.low <= found.high
    assert found.high < float("inf")
    assert not found.reason


@given(lefts, samples, st.floats(0, 600))
def test_while_nothing_comes_the_end_never_comes_nearer(
    what: Left, taken: Sequence[Sample], later: float
) -> None:
    before = eta(what, taken, NOW)
    after = eta(what, [s for s in taken if s.at > NOW + later - 900], NOW + later)
    assume(before.low is not None and after.low is not None)
    # Nothing that counts may have become too old to be looked at meanwhile.
    assume(all(s.at > NOW + later - 900 for s in taken))
    for one, other in zip(ends(before), ends(after), strict=True):
        assert other >= one * (1 - 1e-9)


@given(samples, st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_work_never_ends_sooner(
    taken: Sequence[Sample], rows: int, more: int
) -> None:
    before, after = (eta(left(n), taken, NOW) for n in (rows, rows + more))
    assume(before.low is not None and after.low is not None)
    for one, other in zip(ends(before), ends(after), strict=True):
        assert other >= one * (1 - 1e-9)
