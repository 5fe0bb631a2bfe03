# SPDX-License-Identifier: Apache-2.0
"""What each kind of check says of an answer, hostile ones among them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.answer_text import Answer
from jobs.row_checks.definitions import judge
from jobs.row_checks.outcome import REASON_LENGTH, Outcome
from jobs.row_checks.rules import KINDS

PASSED, FAILED = Outcome.PASSED, Outcome.FAILED
NOT_APPLICABLE, ERROR = Outcome.NOT_APPLICABLE, Outcome.ERROR
NO_TEXT = Answer(None)
ENGLISH = "The sky is blue because the air scatters blue light more than red light."
GERMAN = "Der Himmel ist blau, weil die Luft das blaue Licht stärker streut als rotes."


def said(kind: str, text: str | Answer, **params: Any) -> Outcome:
    answer = Answer(text) if isinstance(text, str) else text
    return judge(kind, json.dumps(params), answer).outcome


def why(kind: str, text: str | Answer, **params: Any) -> str:
    answer = Answer(text) if isinstance(text, str) else text
    return judge(kind, json.dumps(params), answer).reason


@pytest.mark.parametrize(
    ("kind", "params", "passes", "fails"),
    [
        ("json", {}, ' {"a": [1, 2.5, null]} ', '{"a": 1'),
        ("json", {}, "3", "NaN"),
        ("json", {}, '"\\ud800"', "```json\n{}\n```"),
        ("json_schema", {"schema": {"type": "array"}}, "[]", "{}"),
        ("json_schema", {"schema": {"type": "array"}}, "[]", "no JSON"),
        ("regex", {"pattern": r"^\d+$"}, "42", "42a"),
        ("regex", {"pattern": "ABC", "ignore_case": True}, "xabcx", "ab"),
        ("regex", {"pattern": "abc", "negate": True}, "ab", "xabcx"),
        ("contains", {"value": "blue"}, "the blue sky", "the Blue sky"),
        ("contains", {"value": "straße", "ignore_case": True}, "STRASSE", "STRESS"),
        ("contains", {"value": "blue", "negate": True}, "red", "blue"),
        ("equals", {"value": "yes"}, " yes\n", "yes."),
        ("equals", {"value": "Yes", "ignore_case": True}, "yEs", "no"),
        ("equals", {"value": "yes", "negate": True}, "no", "yes"),
        ("length", {"least": 3}, "abc", "ab"),
        ("length", {"most": 3}, "abc", "abcd"),
        ("length", {"least": 2, "most": 3, "unit": "words"}, "a  b\nc", "abc"),
        ("not_empty", {}, "x", " \n\t"),
        (
            "not_refused",
            {},
            ENGLISH,
            "I\N{RIGHT SINGLE QUOTATION MARK}m  sorry, but I can't help with that.",
        ),
        ("not_refused", {"phrases": ["Das geht nicht"]}, "Gern!", "das geht NICHT."),
        ("language", {"languages": ["en"]}, ENGLISH, GERMAN),
        ("language", {"languages": ["de", "fr"]}, GERMAN, ENGLISH),
    ],
)
def test_what_passes_and_what_fails(
    kind: str, params: dict[str, Any], passes: str, fails: str
) -> None:
    assert said(kind, passes, **params) == PASSED
    assert said(kind, fails, **params) == FAILED
    assert why(kind, passes, **params) == ""
    assert why(kind, fails, **params)


def test_an_answer_that_was_cut_off() -> None:
    for reason in ("length", "max_output_tokens"):
        assert said("not_truncated", Answer("x", "", reason)) == FAILED
    assert said("not_truncated", Answer("x", "", "stop")) == PASSED
    assert said("not_truncated", Answer("x")) == NOT_APPLICABLE


def test_a_refusal_in_its_own_member_counts_without_phrases() -> None:
    assert said("not_refused", Answer("", "No.", "stop")) == FAILED


def test_a_phrase_far_behind_the_beginning_is_no_refusal() -> None:
    assert said("not_refused", "word " * 100 + "I can't help laughing.") == PASSED


@pytest.mark.parametrize("text", ["", "ok", "12345 67890 " * 10, "🙂" * 50])
def test_what_is_too_short_to_tell_has_no_language(text: str) -> None:
    assert said("language", text, languages=["en"]) == NOT_APPLICABLE


PARAMS: dict[str, dict[str, Any]] = {
    "json_schema": {"schema": {"type": "object"}},
    "regex": {"pattern": "(a+)+$"},
    "contains": {"value": "x"},
    "equals": {"value": "x"},
    "length": {"most": 10},
    "language": {"languages": ["en"]},
}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"not_truncated"}))
def test_an_answer_without_text_is_not_judged(kind: str) -> None:
    assert said(kind, NO_TEXT, **PARAMS.get(kind, {})) == NOT_APPLICABLE


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_request_is_not_judged(kind: str) -> None:
    found = judge(kind, json.dumps(PARAMS.get(kind, {})), None)
    assert (found.outcome, found.reason) == (NOT_APPLICABLE, "the request failed")


HOSTILE = {
    "a megabyte": "ab " * 350_000,
    "a megabyte of one letter": "a" * 1_000_000 + "b",
    "sixteen megabytes": "x" * 16_000_000,
    "deep JSON": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "a long number": "9" * 100_000,
    "a large exponent": "1e999999",
    "lone surrogates": "\ud800 \udfff text " * 50,
    "NUL": "\0" * 1000,
    "twice the same key": '{"a": 1, "a": []}',
    "many members": json.dumps({f"k{n}": n for n in range(50_000)}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_get_an_outcome_soon(kind: str, name: str) -> None:
    began = time.thread_time()
    found = judge(kind, json.dumps(PARAMS.get(kind, {})), Answer(HOSTILE[name]))
    assert time.thread_time() - began < 10
    assert found.outcome in Outcome
    assert len(found.reason) <= REASON_LENGTH
    # every database takes it
    found.reason.encode()
    assert "\0" not in found.reason


@given(text=st.text(st.characters(codec=None), max_size=500))
def test_any_text_gets_an_outcome_and_a_storable_reason(text: str) -> None:
    for kind in KINDS:
        found = judge(kind, json.dumps(PARAMS.get(kind, {})), Answer(text, "", "stop"))
        assert (found.outcome == PASSED) == (not found.reason)
        found.reason.encode()


@given(text=st.text(max_size=200), least=st.integers(0, 200), more=st.integers(0, 50))
def test_a_length_within_passes_and_no_other(text: str, least: int, more: int) -> None:
    within = least <= len(text) <= least + more
    found = said("length", text, least=least, most=least + more)
    assert found == (PASSED if within else FAILED)


@given(text=st.text(max_size=50), value=st.text(min_size=1, max_size=5))
def test_a_negated_check_says_the_opposite(text: str, value: str) -> None:
    for kind in ("contains", "equals"):
        plain = said(kind, text, value=value)
        assert {plain, said(kind, text, value=value, negate=True)} == {PASSED, FAILED}


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_python_writes_as_json_is_json(value: Any) -> None:
    assert said("json", json.dumps(value)) == PASSED


def test_a_check_that_raises_is_an_error_with_its_words() -> None:
    found = judge("regex", "{}", Answer("x"))
    assert (found.outcome, found.reason) == (ERROR, "KeyError: 'pattern'")
    found = judge("gone", "{}", Answer("x"))
    assert found.outcome == ERROR
