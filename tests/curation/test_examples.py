# SPDX-License-Identifier: Apache-2.0
"""Which examples a prompt gets, and which rows are for tests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curation.examples import (
    Example,
    as_messages,
    as_text,
    choose,
    is_test,
    with_examples,
)

MAILS = [
    Example("a", "please send the invoice", "billing", 5),
    Example("b", "please send the invoice again", "billing", 4),
    Example("c", "my parcel never arrived", "delivery", 1),
    Example("d", "how do I change my password", "account", 3),
]


def test_examples_are_good_and_differ() -> None:
    # The best, and then not its twin, though that one is the second best.
    found = choose(MAILS, most=3, tokens=1000)
    assert [one.key for one in found] == ["a", "d", "c"]
    assert choose(reversed(MAILS), most=3, tokens=1000) == found
    assert len(choose(MAILS, most=9, tokens=1000)) == 4
    assert choose(MAILS, most=0, tokens=1000) == []


def test_what_does_not_fit_is_passed_over() -> None:
    long = Example("z", "word " * 500, "x", 9)
    found = choose([long, *MAILS], most=2, tokens=40)
    assert "z" not in {one.key for one in found}
    assert sum(one.tokens for one in found) <= 40
    assert choose(MAILS, most=2, tokens=3) == []


def test_examples_stand_in_a_prompt() -> None:
    (one,) = choose(MAILS, most=1, tokens=100)
    assert as_text([one]) == "Input: please send the invoice\nOutput: billing"
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Sort."},
            {"role": "user", "content": "?"},
        ],
    }
    made = with_examples(body, [one])
    assert [m["content"] for m in made["messages"]] == [
        *("Sort.", "please send the invoice", "billing", "?")
    ]
    assert as_messages([]) == []
    assert with_examples(body, []) == body


def test_a_share_of_rows_is_for_tests_and_stays() -> None:
    keys = [f"batch_x#{n}" for n in range(2000)]
    test = {key for key in keys if is_test(key, share=0.2)}
    assert 320 <= len(test) <= 480
    # A larger part contains the smaller one; another salt is another part.
    assert test < {key for key in keys if is_test(key, share=0.3)}
    assert test != {key for key in keys if is_test(key, share=0.2, salt="x")}
    assert not any(is_test(key, share=0.0) for key in keys)
    assert all(is_test(key, share=1.0) for key in keys)


EXAMPLES = st.lists(
    st.builds(
        Example,
        st.uuids().map(str),
        st.text(max_size=30),
        st.text(max_size=10),
        st.floats(0, 10),
    ),
    max_size=12,
)


@given(EXAMPLES, st.integers(0, 5), st.integers(0, 60))
def test_never_too_many_and_never_twice(
    examples: list[Example], most: int, tokens: int
) -> None:
    found = choose(examples, most=most, tokens=tokens)
    assert len(found) <= most
    assert len({one.key for one in found}) == len(found)
    assert sum(one.tokens for one in found) <= tokens
