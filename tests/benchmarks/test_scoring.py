# SPDX-License-Identifier: Apache-2.0
"""Each metric says what it should of right, wrong and odd answers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scoring import KINDS, Metric, read, score
from benchmarks.scoring.texts import f1, normalised
from benchmarks.scoring.values import last_number
from jobs.refusals import Refused

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}


def metric(kind: str, **params: Any) -> Metric:
    (found,) = read("metrics", [{"kind": kind, "params": params}])
    return found


@pytest.mark.parametrize(
    ("kind", "params", "text", "reference", "expected"),
    [
        ("exact", {}, " Paris\n", "Paris", 1),
        ("exact", {}, "paris", "Paris", 0),
        ("exact", {}, "Paris", ["Rome", "Paris"], 1),
        ("exact", {}, "36", 36, 1),
        ("exact", {}, "x", {"a": 1}, None),
        ("exact", {}, "x", [], None),
        ("normalised", {}, "The  answer: Paris!", "answer paris", 1),
        ("normalised", {}, "Paris, France", "Paris", 0),
        ("contains", {}, "It is PARIS.", "Paris", 1),
        ("contains", {}, "It is Rome.", ["Paris", "Nice"], 0),
        # By hand: 2 words in common, of 3 and of 4.
        ("token_f1", {}, "a red big house", "red house by lake", 4 / 7),
        ("token_f1", {}, "green", ["red", "the green"], 1),
        ("token_f1", {}, "the", "a", 1),
        ("regex", {"pattern": r"^\d+$"}, "12", None, 1),
        ("regex", {"pattern": "^YES", "ignore_case": True}, "yes.", None, 1),
        ("regex", {"pattern": "cold", "negate": True}, "ice is cold", None, 0),
        ("numeric", {}, "It is 1,234.50 in all.", 1234.5, 1),
        ("numeric", {}, "First 3, then 4.", 3, 0),
        ("numeric", {}, "no number", 3, 0),
        ("numeric", {"tolerance": 0.5}, "about 3.4", 3, 1),
        ("numeric", {"relative": 0.01}, "101", 100, 1),
        ("numeric", {}, "-7", "so it is -7", 1),
        ("numeric", {}, "7", "none", None),
        ("numeric", {}, "1", True, None),
        ("json_schema", {"schema": PERSON}, '{"name": "Kim"}', None, 1),
        ("json_schema", {"schema": PERSON}, '{"name": 5}', None, 0),
        ("json_schema", {"schema": PERSON}, "Kim", None, 0),
        (
            *("json_schema", {"schema": PERSON}),
            *('Here:\n```json\n{"name": "Kim"}\n```', None, 1),
        ),
        ("fields", {}, '{"a": 1, "b": "The X."}', {"a": 1.0, "b": "x"}, 1),
        # One of two fields is right, and one is more than wanted: 2 x 1 / (3 + 2).
        ("fields", {}, '{"a": 1, "b": 3, "c": 4}', {"a": 1, "b": 2}, 0.4),
        ("fields", {}, '{"a": true}', {"a": 1}, 0),
        ("fields", {}, '["y", "x"]', ["x", "y"], 1),
        ("fields", {}, "{}", {}, 1),
        ("fields", {}, "nothing", {"a": 1}, 0),
        ("fields", {}, "{}", "text", None),
    ],
)
def test_what_each_metric_says(
    kind: str, params: Any, text: str, reference: Any, expected: float | None
) -> None:
    found = score(metric(kind, **params), text, reference)
    assert found == (expected if expected is None else pytest.approx(expected))


def test_every_kind_is_tested() -> None:
    tested = test_what_each_metric_says.pytestmark[0].args[1]
    assert {row[0] for row in tested} == set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_answer_is_no_good_answer_and_no_reference_says_nothing(kind: str) -> None:
    params: dict[str, dict[str, Any]] = {
        "regex": {"pattern": "a"},
        "json_schema": {"schema": PERSON},
    }
    asked = metric(kind, **params.get(kind, {}))
    if KINDS[kind].needs_reference:
        assert score(asked, "text", None) is None
        assert score(asked, None, "text") == 0
    else:
        assert score(asked, None, None) == 0


@pytest.mark.parametrize(
    ("asked", "text", "reference"),
    [
        (metric("numeric"), "1", 10**400),
        (metric("numeric"), "9" * 400, 5),
        (
            metric("json_schema", schema={"type": "number", "multipleOf": 0.1}),
            *("9" * 400, None),
        ),
        (metric("fields"), "[" * 988 + "]" * 988, {"a": 1}),
        (metric("fields"), '{"a": ' + "9" * 400 + "}", {"a": 10**400}),
    ],
)
def test_no_answer_ends_the_scoring(asked: Metric, text: str, reference: Any) -> None:
    found = score(asked, text, reference)
    assert found is None or 0 <= found <= 1


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("exact", "metrics"),
        ([5], "metrics[0]"),
        ([{"kind": "odd"}], "metrics[0].kind"),
        ([{"kind": "exact", "more": 1}], "metrics[0].more"),
        ([{"kind": "regex"}], "metrics[0].params.pattern"),
        ([{"kind": "regex", "params": {"pattern": "("}}], "metrics[0].params.pattern"),
        ([{"kind": "exact", "params": {"x": 1}}], "metrics[0].params.x"),
        ([{"kind": "exact", "params": 1}], "metrics[0].params"),
        (
            [{"kind": "numeric", "params": {"tolerance": -1}}],
            "metrics[0].params.tolerance",
        ),
        ([{"kind": "exact", "name": "a b"}], "metrics[0].name"),
        ([{"kind": "exact", "name": "score"}], "metrics[0].name"),
        (["exact", "exact"], "metrics[0].name"),
        (["exact"] * 11, "metrics"),
    ],
)
def test_what_is_wrong_with_a_metric_is_named(value: Any, param: str) -> None:
    with pytest.raises(Refused) as refused:
        read("metrics", value)
    assert refused.value.param == param


def test_metrics_are_kept_as_they_were_read() -> None:
    given: list[Any] = [
        "exact",
        {"kind": "regex", "name": "form", "params": {"pattern": "a", "negate": True}},
    ]
    found = read("metrics", given)
    assert [one.name for one in found] == ["exact", "form"]
    assert read("metrics", [one.as_json() for one in found]) == found


@given(st.text(max_size=200), st.text(max_size=200))
def test_scores_are_shares_and_a_text_is_like_itself(text: str, other: str) -> None:
    for kind in ("exact", "normalised", "contains", "token_f1", "numeric", "fields"):
        found = score(metric(kind), text, other)
        assert found is None or 0 <= found <= 1
    for kind in ("exact", "normalised", "contains", "token_f1"):
        assert score(metric(kind), text, text) == 1
    assert normalised(normalised(text)) == normalised(text)


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(
    one: list[str], two: list[str]
) -> None:
    found, wanted = Counter(one), Counter(two)
    common = (found & wanted).total()
    expected = float(found == wanted)
    if found and wanted and common:
        precision, recall = common / len(one), common / len(two)
        expected = 2 * precision * recall / (precision + recall)
    assert f1(found, wanted) == pytest.approx(expected)


def test_numbers_are_read_as_models_write_them() -> None:
    assert last_number("1,000 and 2,500.25") == 2500.25
    assert last_number("6.02e23") == 6.02e23
    assert last_number("the year 2026.") == 2026
    assert last_number("none") is None
