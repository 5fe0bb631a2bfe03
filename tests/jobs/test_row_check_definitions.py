# SPDX-License-Identifier: Apache-2.0
"""Checks as they are given: what is taken, and which field is named for what is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.answer_text import Answer, read
from jobs.refusals import Refused
from jobs.row_checks import definitions
from jobs.row_checks.languages import LANGUAGES, NO_LANGUAGE, _identifier
from jobs.row_checks.outcome import Outcome
from jobs.row_checks.rules import KINDS


def one(**over: Any) -> dict[str, Any]:
    return {"name": "valid", "kind": "json", **over}


def test_a_check_keeps_what_it_was_given() -> None:
    params = {"pattern": "^a", "negate": True, "ignore_case": None}
    (found,) = definitions.read("c", [one(kind="regex", params=params)])
    assert (found.name, found.kind) == ("valid", "regex")
    assert found.params == {"pattern": "^a", "negate": True}
    assert definitions.read("c", []) == []


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({}, "c", "invalid_type"),
        ([one()] * 21, "c", "array_above_max_length"),
        (["json"], "c[0]", "invalid_type"),
        ([one(), one()], "c[1].name", "invalid_value"),
        ([one(colour="red")], "c[0].colour", "unknown_parameter"),
        ([{"kind": "json"}], "c[0].name", "missing_required_parameter"),
        ([{"name": "a"}], "c[0].kind", "missing_required_parameter"),
        ([one(name="")], "c[0].name", "empty_string"),
        ([one(name=7)], "c[0].name", "invalid_type"),
        ([one(name="x" * 41)], "c[0].name", "string_above_max_length"),
        ([one(name=" a")], "c[0].name", "invalid_value"),
        ([one(name="a\0")], "c[0].name", "invalid_value"),
        ([one(name="\ud800")], "c[0].name", "invalid_value"),
        ([one(kind="magic")], "c[0].kind", "invalid_value"),
        ([one(kind=["json"])], "c[0].kind", "invalid_type"),
        ([one(params=[])], "c[0].params", "invalid_type"),
        ([one(params={"most": 1})], "c[0].params.most", "unknown_parameter"),
        (
            [one(kind="regex")],
            "c[0].params.pattern",
            "missing_required_parameter",
        ),
        (
            [one(kind="regex", params={"pattern": "(?=a)"})],
            "c[0].params.pattern",
            "invalid_value",
        ),
        (
            [one(kind="regex", params={"pattern": "a" * 1001})],
            "c[0].params.pattern",
            "string_above_max_length",
        ),
        (
            [one(kind="regex", params={"pattern": "a", "negate": "yes"})],
            "c[0].params.negate",
            "invalid_type",
        ),
        ([one(kind="length")], "c[0].params", "invalid_value"),
        (
            [one(kind="length", params={"most": True})],
            "c[0].params.most",
            "invalid_type",
        ),
        (
            [one(kind="length", params={"least": -1})],
            "c[0].params.least",
            "invalid_value",
        ),
        (
            [one(kind="length", params={"least": 3, "most": 2})],
            "c[0].params.most",
            "invalid_value",
        ),
        (
            [one(kind="length", params={"most": 2, "unit": "lines"})],
            "c[0].params.unit",
            "invalid_value",
        ),
        (
            [one(kind="language", params={"languages": ["en", "klingon"]})],
            "c[0].params.languages[1]",
            "string_above_max_length",
        ),
        (
            [one(kind="language", params={"languages": ["xx"]})],
            "c[0].params.languages[0]",
            "invalid_value",
        ),
        (
            [one(kind="language", params={"languages": []})],
            "c[0].params.languages",
            "empty_array",
        ),
        (
            [one(kind="json_schema", params={"schema": {"type": "x"}})],
            "c[0].params.schema",
            "invalid_value",
        ),
        (
            [one(kind="json_schema", params={"schema": {"title": "x" * 20_000}})],
            "c[0].params.schema",
            "invalid_value",
        ),
        (
            [
                one(
                    name=str(n),
                    kind="json_schema",
                    params={"schema": {"title": "x" * 19_000}},
                )
                for n in range(4)
            ],
            "c",
            "invalid_value",
        ),
    ],
)
def test_what_is_wrong_is_named(given: Any, field: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        definitions.read("c", given)
    assert (refused.value.param, refused.value.code) == (field, code)
    assert f"'{field}'" in refused.value.message


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
likely = st.fixed_dictionaries(
    {
        "name": st.text(max_size=5) | anything,
        "kind": st.sampled_from(sorted(KINDS)) | anything,
        "params": st.dictionaries(
            st.sampled_from(["schema", "pattern", "value", "least", "languages"]),
            anything,
        )
        | anything,
    }
)


@given(given=anything | st.lists(likely | anything, max_size=3))
def test_whatever_is_given_is_taken_or_refused(given: Any) -> None:
    try:
        checks = definitions.read("c", given)
    except Refused as refused:
        assert refused.param
        return
    for check in checks:
        found = definitions.judge(check.kind, check.params_text, Answer("text"))
        assert found.outcome in Outcome


def test_the_languages_are_those_of_the_model() -> None:
    assert {*_identifier().labels} - {NO_LANGUAGE} == LANGUAGES


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ('{"choices": [{"message": {"content": "a"}}]}', Answer("a")),
        ('{"choices": [{"text": "b"}, {"text": "c"}]}', Answer("b")),
        ('{"choices": []}', Answer("")),
        ('{"choices": [{"message": {"content": null}}]}', Answer("")),
        (
            '{"choices": [{"message": {"content": null, "tool_calls": [{}]}}]}',
            Answer(None),
        ),
        (
            '{"choices": [{"message": {"content": null, "refusal": "No."}}]}',
            Answer("", "No."),
        ),
        (
            '{"choices": [{"message": {"content": [{"text": "a"}, {"text": "b"}, 7]}}]}',
            Answer("ab"),
        ),
        (
            '{"output": [{"type": "reasoning", "content": [{"text": "hm"}]},'
            ' {"type": "message", "content": [{"text": "a"}, {"text": "b"}]}]}',
            Answer("a\nb"),
        ),
        ('{"output": [{"type": "function_call", "name": "f"}]}', Answer(None)),
        (
            '{"output": [{"type": "message", "content": [{"refusal": "No."}]}]}',
            Answer("", "No."),
        ),
        ('{"data": [{"embedding": [0.1]}]}', Answer(None)),
        ('{"choices": "a", "output": 7}', Answer(None)),
        ("[]", Answer(None)),
        ("{", Answer(None)),
        ("", Answer(None)),
        ("[" * 100_000, Answer(None)),
        ('{"choices": [{"text": "\\ud800"}]}', Answer("\ud800")),
    ],
)
def test_the_text_of_an_answer(body: str, answer: Answer) -> None:
    assert read(body, "") == answer
