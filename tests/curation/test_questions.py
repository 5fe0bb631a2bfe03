# SPDX-License-Identifier: Apache-2.0
"""Rubrics as people write them, and which answers fit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import rubrics
from curation.questions import KINDS, Question, read, read_answers
from curation.ready import READY
from jobs.refusals import Refused

OPTIONS = ["red", "green", "blue"]
ALL: list[dict[str, Any]] = [
    {
        "key": "label",
        "type": "label",
        "title": "One colour",
        "help": "The one that it is most.",
        "options": [
            {"value": "red", "title": "Red", "key": "r", "help": "as blood"},
            "green",
            "blue",
        ],
    },
    {
        "key": "labels",
        "type": "multi_label",
        "title": "All colours",
        "options": OPTIONS,
    },
    {"key": "stars", "type": "rating", "title": "Stars", "max": 5, "goal": "higher"},
    {"key": "size", "type": "number", "title": "Size", "min": 0, "goal": "lower"},
    {"key": "right", "type": "boolean", "title": "Right?"},
    {"key": "note", "type": "text", "title": "Note", "required": False},
    {
        "key": "corrected",
        "type": "correction",
        "title": "As it should be",
        "required": False,
        "format": "json",
        "schema": {"type": "object", "required": ["name"]},
    },
    {"key": "better", "type": "pairwise", "title": "Better?", "required": False},
    {"key": "order", "type": "ranking", "title": "Order", "required": False},
    {
        "key": "parts",
        "type": "spans",
        "title": "Parts",
        "required": False,
        "options": ["wrong", "unclear"],
    },
]
NEEDED = {"label": "red", "labels": ["blue"], "stars": 5, "size": 1.5, "right": False}


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return read("questions", ALL)


def test_every_type_is_read_and_written_as_it_was(questions: list[Question]) -> None:
    assert {one.type for one in questions} == set(KINDS)
    again = read("questions", json.loads(json.dumps([q.as_json() for q in questions])))
    assert again == questions
    assert questions[0].values == ("red", "green", "blue")
    assert (questions[2].low, questions[2].high) == (1, 5)


def one(**over: Any) -> list[dict[str, Any]]:
    """A question with these members; None takes one away."""
    whole = {"key": "a", "type": "label", "title": "A", "options": ["x", "y"]} | over
    return [{name: value for name, value in whole.items() if value is not None}]


@pytest.mark.parametrize(
    ("given", "param", "words"),
    [
        ({}, "questions", "array"),
        ([], "questions", "at least"),
        ([1], "questions[0]", "object"),
        (one(key=None), "questions[0].key", "required"),
        (one(key="A b"), "questions[0].key", "a to z"),
        (one() * 2, "questions[1].key", "another question"),
        (one(type="stars"), "questions[0].type", "none of"),
        (one(title=" "), "questions[0].title", "printable"),
        (one(title="a\nb"), "questions[0].title", "printable"),
        (one(options=None), "questions[0].options", "required"),
        (one(options=[{}]), "questions[0].options[0].value", "required"),
        (one(options=["x", "x"]), "questions[0].options[1].value", "the same"),
        (one(options=[{"value": "x", "key": "F1"}]), "questions[0].options[0].key", "z"),
        (one(options=[{"value": "x", "colour": "red"}]), "questions[0].options[0].colour", "no such"),
        (one(max=5), "questions[0].max", "no such field"),
        (one(type="rating", options=None, max=11), "questions[0].max", "within 0 and 10"),
        (one(type="rating", options=None, min=5, max=5), "questions[0].max", "not more"),
        (one(type="number", options=None, min="x"), "questions[0].min", "number"),
        (one(type="correction", options=None, schema={}), "questions[0].schema", "json"),
        (
            one(type="correction", options=None, format="json", schema={"type": 3}),
            "questions[0].schema",
            "",
        ),
        (
            [*one(type="pairwise", options=None), *one(key="b", type="pairwise", options=None)],
            "questions",
            "one question of type 'pairwise'",
        ),
        (one(required="yes"), "questions[0].required", "boolean"),
        (one(goal="higher"), "questions[0].goal", "no such field"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(given: Any, param: str, words: str) -> None:
    with pytest.raises(Refused) as refused:
        read("questions", given)
    assert refused.value.param == param
    assert words in refused.value.message


def test_answers_are_read_in_the_rubrics_order(questions: list[Question]) -> None:
    answers = NEEDED | {"labels": ["blue", "red", "blue"], "note": "", "order": None}
    found = read_answers(questions, answers, final=True)
    assert found == NEEDED | {"labels": ["red", "blue"]}
    assert list(found) == list(NEEDED)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("colour", "red", "no such question"),
        ("label", "pink", "none of"),
        ("label", None, "“One colour” needs an answer"),
        ("labels", "red", "array"),
        ("labels", [], "needs an answer"),
        ("stars", 0, "1 to 5"),
        ("stars", 4.5, "integer"),
        ("stars", True, "integer"),
        ("size", -1, "0 or more"),
        ("size", float("nan"), "number"),
        ("right", 1, "boolean"),
        ("note", "a\0b", "NUL"),
        ("corrected", "{", "no JSON"),
        ("corrected", "[]", "does not satisfy the schema"),
        ("better", "c", "none of"),
        ("order", [[0], [0]], "each place once"),
        ("order", [[0], [1], [2]], "each place once"),
        ("order", [[0, 1], []], "each place once"),
        ("parts", [{"start": 3, "end": 3, "label": "wrong"}], "before end"),
        ("parts", [{"start": 0, "end": 3}], "start, end and label"),
        ("parts", [{"start": 0, "end": 3, "label": "x"}], "none of"),
    ],
)
def test_an_answer_that_does_not_fit_is_named(
    questions: list[Question], key: str, value: Any, words: str
) -> None:
    with pytest.raises(Refused) as refused:
        read_answers(questions, NEEDED | {key: value}, final=True, candidates=2)
    assert (refused.value.param or "").startswith(f"answers.{key}")
    assert words in refused.value.message


def test_a_draft_may_be_half_done(questions: list[Question]) -> None:
    half = {"label": "red", "corrected": "{ not yet"}
    assert read_answers(questions, half, final=False) == half


def test_two_answers_are_compared_and_several_are_ranked(
    questions: list[Question],
) -> None:
    given = NEEDED | {"better": "tie", "order": [1, [0]]}
    found = read_answers(questions, given, final=True, candidates=2)
    assert (found["better"], found["order"]) == ("tie", [[1], [0]])
    with pytest.raises(Refused, match="has not two"):
        read_answers(questions, {"better": "a"}, final=False, candidates=3)


@pytest.mark.parametrize("ready", READY, ids=lambda ready: ready.slug)
def test_rubrics_that_ship_are_good(ready: Any) -> None:
    found = read("questions", ready.questions)
    assert any(question.required for question in found)
    name, again = rubrics.read_export(
        {"name": ready.name, "questions": [q.as_json() for q in found]}
    )
    assert (name, again) == (ready.name, found)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [*"ab", *NEEDED, "key", "type", "title", "options", "value"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(ANYTHING)
def test_whatever_is_sent_is_read_or_refused(value: Any) -> None:
    try:
        read("questions", value)
    except Refused as refused:
        assert refused.param
    found = read("questions", ALL)
    for final in (True, False):
        try:
            json.dumps(read_answers(found, value, final=final), allow_nan=False)
        except Refused as refused:
            assert refused.param
