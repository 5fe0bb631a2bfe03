# SPDX-License-Identifier: Apache-2.0
"""What an engine's answer to one request means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from .answer_text import parse
from .engines.client import Answer, AnswerTooLarge, EngineClient, EngineUnreachable
from .jsonl import quoted
from .models import Result

# The engine judged the row itself; its word is the row's result.
ROW_STATUSES = frozenset({400, 409, 413, 422})
# The engine, its address or its key is wrong; no row may be blamed.
FAULT_STATUSES = frozenset({401, 403, 404, 405})


class Verdict(Enum):
    """What to do with an answer."""

    RESULT = "store it"
    RETRY = "ask again"
    FAULT = "the engine's fault: give the chunk back"


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, the parsed body where there is one, and why in words.

    `no_such_place`: the engine knows no such path or model.
    """

    verdict: Verdict
    body: Any = None
    reason: str = ""
    no_such_place: bool = False


def judge(answer: Answer) -> Judged:
    """Sort an answer into result, retry and fault.

    2xx and the row's own 4xx must have a JSON body to be results. 408, 429, 5xx and
    whatever else is tried again.
    """
    if answer.status in FAULT_STATUSES:
        return Judged(
            Verdict.FAULT,
            reason=f"the engine answered {_words(answer)}",
            no_such_place=answer.status in (404, 405),
        )
    final = answer.status == 200 or answer.status in ROW_STATUSES
    try:
        body = parse(answer.body)
    except ValueError:
        if final:
            return Judged(
                Verdict.FAULT,
                reason=f"the engine answered {answer.status} with a body that is not JSON",
            )
        body = None
    if final and isinstance(body, dict):
        return Judged(Verdict.RESULT, body=body)
    if final:
        return Judged(
            Verdict.FAULT, reason="the engine answered with JSON that is no object"
        )
    return Judged(
        Verdict.RETRY, body=body, reason=f"the engine answered {_words(answer)}"
    )


async def models_of(client: EngineClient) -> set[str]:
    """The models that the engine lists; none where it does not answer as it should."""
    try:
        answer = await client.get("/v1/models")
        listed = {entry.get("id") for entry in parse(answer.body)["data"]}
    except (
        EngineUnreachable,
        AnswerTooLarge,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ):
        return set()
    return listed if answer.status == 200 else set()


def _words(answer: Answer) -> str:
    text = quoted(answer.body[:300].decode(errors="replace"), 300).strip()
    return f"{answer.status}: {text}" if text else str(answer.status)


def result_of(answer: Answer, body: Any) -> Result:
    """The Result of a final answer, without request, batch and seq.

    `body` is the parsed body, None where it is not JSON: the text then becomes the
    message of an error object, so that the output file's body is always an object.
    """
    done = answer.status == 200
    if isinstance(body, dict):
        text = answer.body.decode()
    else:
        body = {
            "error": {
                "message": answer.body.decode(errors="replace")[:10_000],
                "type": "engine_error",
                "param": None,
                "code": None,
            }
        }
        text = orjson.dumps(body).decode()
    result = Result(
        outcome=Result.Outcome.COMPLETED if done else Result.Outcome.FAILED,
        status_code=answer.status,
        engine_request_id=_request_id(answer, body),
        body=text,
        finish_reason=_finish_reason(body),
    )
    _count_tokens(result, body.get("usage"))
    return result


def error_result(code: str, message: str) -> Result:
    """The Result of a row that never got an answer."""
    return Result(outcome=Result.Outcome.FAILED, error_code=code, error_message=message)


def too_large() -> Result:
    """The result of a row whose answer was cut off."""
    return error_result("answer_too_large", "The answer is longer than 16 MB.")


def poisonous() -> Result:
    """The result of a row that is not sent again."""
    return error_result(
        "engine_crashed",
        "The engine died twice while this request was the only one it worked on.",
    )


def last_word(answer: Answer | None, reason: str, tries: int) -> Result:
    """The result of a row that only failed while others succeeded."""
    if answer is None:
        return error_result("request_timeout", f"Tried {tries} times: {reason}.")
    try:
        body = parse(answer.body)
    except ValueError:
        body = None
    return result_of(answer, body)


def _request_id(answer: Answer, body: dict[str, Any]) -> str:
    named = answer.headers.get("x-request-id") or body.get("id")
    return quoted(named, 50)[:100] if isinstance(named, str) else ""


def _finish_reason(body: dict[str, Any]) -> str:
    """The first choice's; for /v1/responses why it is incomplete, else its status."""
    choices = body.get("choices")
    reason: Any = None
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        reason = choices[0].get("finish_reason")
    elif body.get("object") == "response":
        details = body.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        reason = reason or body.get("status")
    return quoted(reason, 32)[:32] if isinstance(reason, str) else ""


def _count_tokens(result: Result, usage: Any) -> None:
    """Read usage in the chat, completions, embeddings and responses spellings."""
    if not isinstance(usage, dict):
        return

    def number(source: Any, *names: str) -> int:
        for name in names:
            value = source.get(name) if isinstance(source, dict) else None
            if isinstance(value, int) and 0 <= value < 2**31:
                return value
        return 0

    result.input_tokens = number(usage, "prompt_tokens", "input_tokens")
    result.output_tokens = number(usage, "completion_tokens", "output_tokens")
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    result.cached_tokens = number(details, "cached_tokens")
    details = usage.get("completion_tokens_details") or usage.get(
        "output_tokens_details"
    )
    result.reasoning_tokens = number(details, "reasoning_tokens")
