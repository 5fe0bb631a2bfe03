# SPDX-License-Identifier: Apache-2.0
"""Which of many answers a sample takes."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.sampling import Sample, by_chance, certainty, likeness
from tests.web import rows


def test_the_lowest_ranks_are_kept_in_input_order() -> None:
    sample = Sample(3)
    for index, rank in enumerate((0.9, 0.1, 0.5, 0.2, 0.3)):
        sample.add("", rank, index)
    assert sample.chosen() == [1, 3, 4]


def test_kinds_share_what_is_wanted_and_small_ones_are_whole() -> None:
    sample = Sample(6)
    for index in range(100):
        sample.add("common", by_chance("s", str(index)), index)
    for index in (100, 101):
        sample.add("rare", by_chance("s", str(index)), index)

    chosen = sample.chosen()

    assert {100, 101} < set(chosen)
    assert len(chosen) == 6


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 1)), min_size=1, max_size=60
    ),
    st.integers(1, 10),
    st.integers(0, 60),
)
def test_cut_off_anywhere_and_gone_on_with_it_chooses_the_same(
    ranked: list[tuple[str, float]], most: int, cut: int
) -> None:
    whole = Sample(most)
    for index, (stratum, rank) in enumerate(ranked):
        whole.add(stratum, rank, index)

    first = Sample(most)
    for index, (stratum, rank) in enumerate(ranked[:cut]):
        first.add(stratum, rank, index)
    second = Sample(most, json.loads(json.dumps(first.as_json())))
    for index, (stratum, rank) in enumerate(ranked[cut:], start=cut):
        second.add(stratum, rank, index)

    assert second.chosen() == whole.chosen()
    assert len(whole.chosen()) == min(most, len(ranked))


def test_strata_beyond_the_limit_are_one() -> None:
    sample = Sample(100)
    for index in range(200):
        sample.add(f"kind {index}", 0.5, index)
    assert len(sample.as_json()) == 51
    assert len(sample.chosen()) == 100


def test_chance_is_even_and_always_the_same() -> None:
    values = [by_chance("salt", str(n)) for n in range(4000)]
    assert values == [by_chance("salt", str(n)) for n in range(4000)]
    assert 0.47 < sum(values) / len(values) < 0.53
    assert by_chance("other", "1") != by_chance("salt", "1")


def chat(**choice: Any) -> str:
    return json.dumps({"choices": [{"message": {"content": "x"}, **choice}]})


@pytest.mark.parametrize(
    ("body", "mean"),
    [
        (chat(logprobs={"content": [{"logprob": -1.0}, {"logprob": -3.0}]}), -2.0),
        (chat(logprobs={"token_logprobs": [None, -0.5]}), -0.5),
        (chat(logprobs={"content": []}), None),
        (chat(logprobs={"content": [{"logprob": "no"}, 4]}), None),
        (chat(), None),
        ("[]", None),
        ("nonsense", None),
    ],
)
def test_certainty_is_the_mean_log_probability(body: str, mean: float | None) -> None:
    assert certainty(body) == mean


def test_likeness() -> None:
    assert likeness(rows.chat("a  b"), rows.chat("a b")) == 1.0
    near = likeness(rows.chat("the cat sat"), rows.chat("the cat sits"))
    far = likeness(rows.chat("the cat sat"), rows.chat("42"))
    assert far < near < 1.0
    rng = random.Random(1)
    long = "".join(rng.choice("abcdef ") for _ in range(50_000))
    assert likeness(rows.chat(long), rows.chat(f"{long}!")) == 0.999
