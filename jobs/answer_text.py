# SPDX-License-Identifier: Apache-2.0
"""What an engine's answer says, for any endpoint; answers are hostile, so all is looked at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

# The reasons of an answer that reached its limit, in the endpoints' spellings.
CUT_OFF = frozenset({"length", "max_output_tokens", "max_tokens"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request was answered.

    `text` is None where there is none to judge: the answer is numbers, or only calls
    tools. `refusal` is what the model said in the member that is made for it.
    """

    text: str | None
    refusal: str = ""
    finish_reason: str = ""


def read(body: str, finish_reason: str) -> Answer:
    """The answer in a stored body; the first choice where there are several."""
    try:
        parsed = _parsed(body)
    except (ValueError, RecursionError):
        return Answer(None, finish_reason=finish_reason)
    if not isinstance(parsed, dict):
        return Answer(None, finish_reason=finish_reason)
    if isinstance(parsed.get("choices"), list):
        text, refusal = _of_choice(first_choice(parsed))
    elif isinstance(parsed.get("output"), list):
        text, refusal = _of_response(parsed)
    else:
        text, refusal = None, ""
    return Answer(text, refusal, finish_reason)


def _parsed(body: str) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        # Lone surrogates, which are in the JSON of some engines.
        return json.loads(body)


def members(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; nothing for whatever else an engine may have sent."""
    if not isinstance(value, list):
        return []
    return [member for member in value if isinstance(member, dict)]


def first_choice(body: dict[str, Any]) -> dict[str, Any]:
    """The first choice of chat and plain completions, or an empty one."""
    return next(iter(members(body.get("choices"))), {})


def response_text(body: dict[str, Any]) -> str:
    """The Responses endpoint: its output texts."""
    texts = [
        str(part.get("text", ""))
        for item in members(body.get("output"))
        for part in members(item.get("content"))
    ]
    return "\n".join(text for text in texts if text)


def _of_choice(choice: dict[str, Any]) -> tuple[str | None, str]:
    message = choice.get("message")
    if not isinstance(message, dict):
        return _text(choice.get("text")), ""
    text = _text(message.get("content"))
    if not text and message.get("tool_calls"):
        return None, ""
    return text, _text(message.get("refusal"))


def _text(value: Any) -> str:
    """A content: a string, or a list of parts with texts."""
    if isinstance(value, str):
        return value
    return "".join(part["text"] for part in members(value) if _is_text(part))


def _is_text(part: dict[str, Any]) -> bool:
    return isinstance(part.get("text"), str)


def _of_response(body: dict[str, Any]) -> tuple[str | None, str]:
    items = members(body.get("output"))
    messages = [item for item in items if item.get("type", "message") == "message"]
    parts = [part for item in messages for part in members(item.get("content"))]
    refusal = next(
        (p["refusal"] for p in parts if isinstance(p.get("refusal"), str)), ""
    )
    text = "\n".join(part["text"] for part in parts if _is_text(part) and part["text"])
    calls = any(str(item.get("type", "")).endswith("_call") for item in items)
    return (None if calls and not text else text), refusal
