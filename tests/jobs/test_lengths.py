# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.lengths import EDGES, Lengths, from_json

counts = st.lists(
    st.tuples(st.integers(1, 100_000), st.booleans()), min_size=1, max_size=60
)


def counted(answers: list[tuple[int, bool]]) -> Lengths:
    lengths = Lengths()
    for tokens, cut in answers:
        lengths.add(tokens, cut=cut)
    return lengths


def test_classes_are_half_octaves() -> None:
    assert EDGES[:8] == (1, 2, 3, 4, 6, 8, 12, 16)
    assert list(EDGES) == sorted(set(EDGES))


def test_whole_answers_have_their_mean() -> None:
    lengths = counted([(10, False), (20, False), (300, False)])
    assert lengths.expected() == pytest.approx(110)
    # One is cut at 100, the others end before.
    assert lengths.expected(100) == pytest.approx((10 + 20 + 100) / 3)


def test_answers_that_were_all_cut_go_on_to_the_new_limit() -> None:
    lengths = counted([(64, True)] * 50)
    assert lengths.expected(64) == pytest.approx(64)
    assert lengths.expected(1000) == pytest.approx(1000)
    # Nobody knows how long without a limit: as long as was seen.
    assert lengths.expected() == pytest.approx(64)


def test_an_answer_without_tokens_says_nothing() -> None:
    lengths = counted([(0, False)])
    assert lengths.answers == 0
    assert lengths.expected(100) == 100
    assert lengths.expected() == 0


def test_cut_samples_tell_the_true_mean() -> None:
    """Half of the answers were cut at 128 or 256; the mean over them would be 30 % short."""
    chance = random.Random(7)
    lengths = Lengths()
    real, seen = [], []
    for n in range(6000):
        length = max(1, round(chance.expovariate(1 / 200)))
        limit = (128, 256, 4096)[n % 3]
        real.append(min(length, 1024))
        seen.append(min(length, limit))
        lengths.add(min(length, limit), cut=length > limit)
    truth = sum(real) / len(real)
    assert sum(seen) / len(seen) < 0.8 * truth
    assert lengths.expected(1024) == pytest.approx(truth, rel=0.05)


@given(counts, st.integers(1, 200_000), st.integers(1, 200_000))
def test_more_room_never_makes_answers_shorter(
    answers: list[tuple[int, bool]], one: int, other: int
) -> None:
    lengths = counted(answers)
    low, high = sorted((one, other))
    assert 0 < lengths.expected(low) <= lengths.expected(high) + 1e-6
    assert lengths.expected(high) <= high + 1e-6


@given(counts, counts)
def test_merging_and_storing_lose_nothing(
    one: list[tuple[int, bool]], other: list[tuple[int, bool]]
) -> None:
    merged = Lengths().merge([counted(one), counted(other)])
    assert from_json(merged.as_json()) == counted(one + other)
