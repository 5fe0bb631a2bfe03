# SPDX-License-Identifier: Apache-2.0
"""Changing members of a request body in its text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.jsonl import parse_array
from jobs.rewriting import Rewrite

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
bodies = st.dictionaries(st.text(max_size=5), values, max_size=5)


def test_what_is_not_changed_stays_as_it_was_written() -> None:
    body = '{ "model":"a", "big": 1e400, "n": 1.50, "odd":"\\ud800\\u0000", "stop": []}'
    assert Rewrite().apply(body) == body
    changed = Rewrite({"model": "b", "stop": None, "seed": 7}).apply(body)
    assert changed == (
        '{"model": "b", "big": 1e400, "n": 1.50, "odd": "\\ud800\\u0000", "seed": 7}'
    )


@given(bodies, bodies, st.sampled_from([None, 1, "\t"]))
def test_members_are_merged_as_in_a_dictionary(
    body: dict[str, Any], members: dict[str, Any], indent: Any
) -> None:
    text = Rewrite(members).apply(json.dumps(body, indent=indent))
    merged = {
        k: v for k, v in (body | members).items() if members.get(k, 0) is not None
    }
    assert json.loads(text) == merged


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (
            '[{"role": "user", "content": "hi"}]',
            '[{"role": "system", "content": "Be \\"brief\\"."},'
            ' {"role": "user", "content": "hi"}]',
        ),
        (
            '[ {"role":"system","content":"old","name":"s"}, {"role":"user"}]',
            '[{"role": "system", "content": "Be \\"brief\\".", "name": "s"},'
            ' {"role":"user"}]',
        ),
        (
            '[{"role":"developer","content":[{"type":"text"}]}]',
            '[{"role": "developer", "content": "Be \\"brief\\"."}]',
        ),
        (
            '[{"role":"system","content":"a"}, {"role":"developer","content":"b"},'
            ' {"role":"system","content":"c"}, {"role":"user"}, {"role":"system"}]',
            '[{"role": "system", "content": "Be \\"brief\\"."}, {"role":"user"},'
            ' {"role":"system"}]',
        ),
        (
            '[{"role": ["system"], "content": 1.50}]',
            '[{"role": "system", "content": "Be \\"brief\\"."},'
            ' {"role": ["system"], "content": 1.50}]',
        ),
        ("[]", '[{"role": "system", "content": "Be \\"brief\\"."}]'),
        ('["odd"]', '[{"role": "system", "content": "Be \\"brief\\"."}, "odd"]'),
        ('"none"', '"none"'),
    ],
)
def test_a_system_prompt_replaces_those_at_the_beginning_or_comes_first(
    messages: str, expected: str
) -> None:
    changed = Rewrite(system_prompt='Be "brief".').apply(f'{{"messages": {messages}}}')
    assert changed == f'{{"messages": {expected}}}'


@given(st.lists(values), st.sampled_from([None, 0, 2]))
def test_parse_array_agrees_with_the_json_module(
    entries: list[Any], indent: Any
) -> None:
    text = json.dumps(entries, indent=indent)
    found = parse_array(f" {text}\r\n")
    assert [value for value, _ in found] == entries
    places = [f" {text}\r\n"[at.start : at.end] for _, at in found]
    assert [json.loads(place) for place in places] == entries


@pytest.mark.parametrize("text", ["", "{}", "[", "[1", "[1,", "[1,]", "[,]", "[1] x"])
def test_what_is_no_array_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_array(text)
