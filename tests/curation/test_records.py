# SPDX-License-Identifier: Apache-2.0
"""Rows of datasets: what each format holds, and which items make none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from curation.questions import read
from curation.records import (
    ALL,
    FORMATS,
    Accept,
    Judged,
    NotExported,
    read_accept,
)
from jobs.refusals import Refused
from tests.web.rows import chat

ASKED = {
    "messages": [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": "Why?"},
    ]
}
PROMPT = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Why?"},
]
SINGLE = read(
    "q",
    [
        {"key": "verdict", "type": "label", "title": "V", "options": ["good", "bad"]},
        {"key": "stars", "type": "rating", "title": "S", "max": 5, "required": False},
        {"key": "usable", "type": "boolean", "title": "U", "required": False},
        {"key": "fixed", "type": "correction", "title": "C", "required": False},
        {"key": "why", "type": "text", "title": "W", "required": False},
    ],
)
PAIR = read("q", [{"key": "better", "type": "pairwise", "title": "B"}])
ORDER = read("q", [{"key": "order", "type": "ranking", "title": "O"}])
GOOD_ONLY = read_accept("accept", {"verdict": ["good"]}, SINGLE)


def judged(
    *texts: str, questions: Any = SINGLE, request: Any = ASKED, **answers: Any
) -> Judged:
    bodies = [chat(text) for text in texts]
    models = [f"m{n}" for n in range(len(texts))]
    return Judged("b#0", json.dumps(request), bodies, models, questions, answers)


def rows(name: str, one: Judged, accept: Accept = ALL) -> list[dict[str, Any]]:
    return list(FORMATS[name](one, accept))


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_what_is_learned_is_the_corrected_answer() -> None:
    plain = judged("Because.", verdict="good")
    assert rows("sft", plain) == [{"messages": [*PROMPT, says("Because.")]}]
    fixed = judged("Becuase.", verdict="bad", fixed="Because.")
    assert rows("sft", fixed) == [{"messages": [*PROMPT, says("Because.")]}]
    with pytest.raises(NotExported, match="not good enough"):
        rows("sft", fixed, GOOD_ONLY)


def test_of_several_the_better_one_is_learned() -> None:
    better = judged("No.", "Because.", questions=PAIR, better="b")
    assert rows("sft", better)[0]["messages"][-1] == says("Because.")
    with pytest.raises(NotExported, match="neither"):
        rows("sft", judged("x", "y", questions=PAIR, better="both_bad"))
    ranked = judged("x", "y", "z", questions=ORDER, order=[[2], [0, 1]])
    assert rows("sft", ranked)[0]["messages"][-1] == says("z")


def test_preferences_come_of_votes_rankings_and_corrections() -> None:
    (vote,) = rows("dpo", judged("x", "y", questions=PAIR, better="a"))
    assert vote == {"prompt": PROMPT, "chosen": [says("x")], "rejected": [says("y")]}
    (fixed,) = rows("dpo", judged("Becuase.", verdict="bad", fixed="Because."))
    assert (fixed["chosen"], fixed["rejected"]) == (
        [says("Because.")],
        [says("Becuase.")],
    )
    ranked = rows("dpo", judged("x", "y", "z", questions=ORDER, order=[[2], [0, 1]]))
    assert [
        (r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in ranked
    ] == [
        ("z", "x"),
        ("z", "y"),
    ]
    for one in (
        judged("x", "y", questions=PAIR, better="tie"),
        judged("x", "y", questions=ORDER, order=[[0, 1]]),
        judged("x", verdict="good"),
        judged("x", verdict="good", fixed="x"),
    ):
        with pytest.raises(NotExported):
            rows("dpo", one)


def test_openai_reads_its_own_names() -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    one = judged("x", "y", questions=PAIR, request=ASKED | {"tools": tools}, better="b")
    (row,) = rows("openai_preference", one)
    assert row == {
        "input": {"messages": PROMPT, "tools": tools, "parallel_tool_calls": True},
        "preferred_output": [says("y")],
        "non_preferred_output": [says("x")],
    }


def test_kto_learns_from_good_and_bad_ones() -> None:
    labels = [
        rows("kto", judged("x", verdict=word), GOOD_ONLY)[0]["label"]
        for word in ("good", "bad")
    ]
    assert labels == [True, False]
    with pytest.raises(Refused, match="which answers are good"):
        rows("kto", judged("x", verdict="good"))
    with pytest.raises(NotExported, match="several"):
        rows("kto", judged("x", "y", questions=PAIR, better="a"), GOOD_ONLY)


def test_rewards_carry_scores_and_reasons() -> None:
    one = judged("Becuase.", verdict="bad", stars=2, fixed="Because.", why="a slip")
    assert rows("reward", one) == [
        {
            "id": "b#0",
            "input": PROMPT,
            "output": "Becuase.",
            "expected_output": "Because.",
            "scores": {"verdict": "bad", "stars": 2},
            "rationale": "a slip",
        }
    ]


def test_every_endpoint_becomes_messages_and_tools_stay() -> None:
    call = [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "look", "arguments": "{}"},
        }
    ]
    answer = json.dumps(
        {"choices": [{"message": {"content": None, "tool_calls": call}}]}
    )
    one = Judged(
        "k", json.dumps({"prompt": "Say"}), [answer], ["m"], SINGLE, {"verdict": "good"}
    )
    (row,) = rows("sft", one)
    assert row["messages"] == [
        {"role": "user", "content": "Say"},
        {"role": "assistant", "tool_calls": call},
    ]
    parts = [{"type": "image_url", "image_url": {"url": "data:x"}}]
    seen = judged(
        "x", request={"messages": [{"role": "user", "content": parts}]}, verdict="good"
    )
    assert rows("sft", seen)[0]["messages"][0] == {"role": "user", "content": parts}


@pytest.mark.parametrize(
    ("request_", "body", "why"),
    [
        ({}, chat("x"), "the request has no text"),
        (ASKED, "not json", "no JSON"),
        (ASKED, '{"choices": []}', "no text"),
    ],
)
def test_what_has_no_text_makes_no_row(request_: Any, body: str, why: str) -> None:
    one = Judged("k", json.dumps(request_), [body], ["m"], SINGLE, {"verdict": "good"})
    with pytest.raises(NotExported, match=why):
        rows("sft", one)


def test_conditions_are_those_of_the_rubric() -> None:
    wanted = {"verdict": ["good"], "stars": {"least": 3, "most": 4}, "usable": [True]}
    accept = read_accept("accept", wanted, SINGLE)
    assert accept.takes(judged("x", verdict="good", stars=3, usable=True))
    for answers in (
        {"verdict": "bad", "stars": 3, "usable": True},
        {"verdict": "good", "stars": 5, "usable": True},
        {"verdict": "good", "stars": 3, "usable": False},
        {"verdict": "good", "stars": 3},
    ):
        assert not accept.takes(judged("x", **answers))


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ([], "accept"),
        ({"colour": ["red"]}, "accept.colour"),
        ({"verdict": ["fine"]}, "accept.verdict"),
        ({"verdict": []}, "accept.verdict"),
        ({"verdict": {"least": 3}}, "accept.verdict"),
        ({"stars": {"least": "x"}}, "accept.stars"),
        ({"stars": {"about": 3}}, "accept.stars"),
        ({"stars": 3}, "accept.stars"),
        ({"why": ["x"]}, "accept.why"),
    ],
)
def test_a_condition_that_cannot_be_is_named(value: Any, param: str) -> None:
    with pytest.raises(Refused) as refused:
        read_accept("accept", value, SINGLE)
    assert refused.value.param == param
