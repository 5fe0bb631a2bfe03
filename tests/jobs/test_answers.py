# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.answers import Verdict, error_result, judge, result_of
from jobs.engines.client import Answer

CHAT = {
    "id": "chatcmpl-1",
    "choices": [{"finish_reason": "length", "message": {"content": "x"}}],
    "usage": {
        "prompt_tokens": 11,
        "completion_tokens": 22,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 4},
    },
}


def answer(status: int, body: object = None, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, raw, headers)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (answer(200, CHAT), Verdict.RESULT),
        *((answer(s, {"error": {}}), Verdict.RESULT) for s in (400, 409, 413, 422)),
        *((answer(s, {"error": {}}), Verdict.FAULT) for s in (401, 403, 404, 405)),
        *((answer(s, b"busy"), Verdict.RETRY) for s in (408, 429, 500, 502, 503, 529)),
        (answer(200, b"<html>"), Verdict.FAULT),
        (answer(400, b"<html>"), Verdict.FAULT),
        (answer(200, []), Verdict.FAULT),
        (answer(302, b""), Verdict.RETRY),
    ],
)
def test_answers_are_sorted_by_whose_fault_they_are(
    given: Answer, verdict: Verdict
) -> None:
    judged = judge(given)
    assert judged.verdict is verdict
    assert bool(judged.reason) == (verdict is not Verdict.RESULT)


def test_a_chat_answer_gives_tokens_and_reason_and_keeps_its_bytes() -> None:
    given = answer(200, CHAT)
    result = result_of(given, judge(given).body)
    assert result.body.encode() == given.body
    assert result.finish_reason == "length"
    assert result.engine_request_id == "chatcmpl-1"
    assert (
        result.input_tokens,
        result.cached_tokens,
        result.output_tokens,
        result.reasoning_tokens,
    ) == (11, 3, 22, 4)


def test_the_responses_spelling_of_usage_is_read_too() -> None:
    usage = {
        "input_tokens": 5,
        "output_tokens": 6,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    given = answer(200, {"usage": usage}, **{"x-request-id": "r"})
    result = result_of(given, judge(given).body)
    assert (result.input_tokens, result.output_tokens) == (5, 6)
    assert (result.cached_tokens, result.reasoning_tokens) == (1, 2)
    assert result.engine_request_id == "r"


def test_odd_usage_counts_nothing_and_breaks_nothing() -> None:
    odd = {"prompt_tokens": -1, "completion_tokens": "many", "prompt_tokens_details": 7}
    usages: list[object] = [odd, [], "x", None, {"prompt_tokens": 10**30}]
    for usage in usages:
        given = answer(200, {"usage": usage, "choices": "odd", "id": 5})
        result = result_of(given, judge(given).body)
        assert (result.input_tokens, result.output_tokens) == (0, 0)


def test_nul_and_lone_surrogate_escapes_are_kept_as_text() -> None:
    raw = b'{"id": "a", "choices": [], "x": "\\u0000 \\ud800"}'
    given = Answer(200, raw)
    judged = judge(given)
    assert judged.verdict is Verdict.RESULT
    assert result_of(given, judged.body).body == raw.decode()


def test_a_last_answer_that_is_not_json_becomes_an_error_object() -> None:
    result = result_of(answer(503, b"upstream \xff sad"), None)
    assert result.status_code == 503
    assert json.loads(result.body)["error"]["message"].startswith("upstream")


def test_a_row_without_an_answer_has_a_code_and_no_status() -> None:
    result = error_result("request_timeout", "too slow")
    assert (result.status_code, result.body) == (None, "")
    assert result.error_code == "request_timeout"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"object": "response", "status": "completed"}, "completed"),
        (
            {
                "object": "response",
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
            },
            "max_output_tokens",
        ),
        ({"object": "response", "status": 1, "incomplete_details": "x"}, ""),
        ({"object": "list", "data": []}, ""),
    ],
)
def test_why_an_answer_without_choices_ended(body: dict[str, Any], reason: str) -> None:
    answer = Answer(200, json.dumps(body).encode(), {})
    assert result_of(answer, body).finish_reason == reason
