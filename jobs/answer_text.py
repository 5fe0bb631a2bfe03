# SPDX-License-Identifier: Apache-2.0
"""What requests ask and answers say, for any endpoint.

Both are what strangers sent: all is looked at, and what leaves is plain text that a
template must still escape.
"""

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
    said = parsed(body)
    if not isinstance(said, dict):
        return Answer(None, finish_reason=finish_reason)
    if isinstance(said.get("choices"), list):
        text, refusal = _of_choice(first_choice(said))
    elif isinstance(said.get("output"), list):
        text, refusal = _of_response(said)
    else:
        text, refusal = None, ""
    return Answer(text, refusal, finish_reason)


def parse(body: bytes | str) -> Any:
    """JSON of any engine, lone surrogate escapes included; ValueError when it is none."""
    try:
        return orjson.loads(body)
    except ValueError:
        return json.loads(body)


def parsed(body: str) -> Any:
    """The JSON of a body, None when it is none."""
    try:
        return parse(body or "null")
    except (ValueError, RecursionError):
        return None


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


def text_of(body: Any) -> str:
    """The text of an answer's body; "" where it has none that people read."""
    if not isinstance(body, dict):
        return ""
    for read in (_choice, response_text, _embedding, _scores):
        if text := read(body):
            return text
    return ""


def question_of(body: Any) -> str:
    """The last thing that a request's body says: its last message, prompt or input."""
    if not isinstance(body, dict):
        return ""
    if messages := members(body.get("messages")):
        return _content(messages[-1].get("content"))
    for name in ("input", "prompt", "query", "text_1"):
        value = body.get(name)
        if items := members(value):
            return _content(items[-1].get("content"))
        if isinstance(value, list) and value and isinstance(value[-1], str):
            return value[-1]
        if isinstance(value, str) and value:
            return value
    return ""


def messages_of(body: Any) -> list[tuple[str, str]]:
    """A request's parts as (role, text), in their order, for reading."""
    if not isinstance(body, dict):
        return []
    found = []
    system = body.get("instructions")
    if isinstance(system, str) and system:
        found.append(("instructions", system))
    listed = members(body.get("messages")) or members(body.get("input"))
    for message in listed:
        text = _content(message.get("content"))
        calls = message.get("tool_calls")
        if calls and not text:
            text = f"calls {json.dumps(calls, ensure_ascii=False)}"
        found.append((str(message.get("role", "")), text))
    if not listed and (text := question_of(body)):
        found.append(("input", text))
    return found


def _content(value: Any) -> str:
    """A message's content: a text, or parts of which images are only named."""
    if isinstance(value, str):
        return value
    texts = []
    for part in members(value):
        kind = str(part.get("type", ""))
        text = part.get("text")
        texts.append(text if isinstance(text, str) else f"[{kind or 'part'}]")
    return "\n".join(texts)


def _choice(body: dict[str, Any]) -> str:
    """Chat and plain completions: the first choice's text, or the tools it calls."""
    first = first_choice(body)
    message = first.get("message")
    if not isinstance(message, dict):
        return str(first.get("text") or "")
    if message.get("tool_calls"):
        return f"calls {json.dumps(message['tool_calls'], ensure_ascii=False)}"
    return _content(message.get("content")) or str(message.get("reasoning") or "")


def _embedding(body: dict[str, Any]) -> str:
    vector = next(iter(members(body.get("data"))), {}).get("embedding")
    return f"{len(vector):,} numbers" if isinstance(vector, list) else ""


def _scores(body: dict[str, Any]) -> str:
    """The score and rerank endpoints: the numbers, best first as they come."""
    rows = members(body.get("data")) or members(body.get("results"))
    numbers = [row.get("score", row.get("relevance_score")) for row in rows]
    known = [f"{n:.4g}" for n in numbers if isinstance(n, (int, float))]
    return ", ".join(known[:20])
