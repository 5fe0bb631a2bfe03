# SPDX-License-Identifier: Apache-2.0
"""The text in requests and answers of any endpoint.

Both are what strangers sent: nothing here trusts their shape, and what leaves is plain
text that a template must still escape.
"""

from __future__ import annotations

import json
from typing import Any

from .models import Result


def whole_text(result: Result, body: str, *, start: str = "") -> str:
    """What a result with this body says: the answer's text, or why the row failed.

    `start` is shown of a body that has no text for people, else all of it.
    """
    if result.outcome != Result.Outcome.FAILED:
        return text_of(parsed(body)) or start or body
    if result.error_code:
        return result.error_message or result.error_code
    found = parsed(body)
    error = found.get("error", found) if isinstance(found, dict) else found
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return str(error) if isinstance(error, str) else start or body


def seen_text(result: Result) -> str:
    """The same of a result that `result_search.preview` has read, long ones cut off."""
    return whole_text(
        result, getattr(result, "answer", ""), start=getattr(result, "start", "")
    )


def asked_text(result: Result) -> str:
    """What was asked, by the request that `result_search.preview` has read."""
    body = parsed(getattr(result, "asked", ""))
    return question_of(body) or str(getattr(result, "asked_start", ""))


def parsed(text: str) -> Any:
    """The JSON of a body, None when it is none."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def text_of(body: Any) -> str:
    """The text of an answer's body; "" where it has none that people read."""
    if not isinstance(body, dict):
        return ""
    for read in (_choice, _response, _embedding, _scores):
        if text := read(body):
            return text
    return ""


def question_of(body: Any) -> str:
    """The last thing that a request's body says: its last message, prompt or input."""
    if not isinstance(body, dict):
        return ""
    if messages := _members(body.get("messages")):
        return _content(messages[-1].get("content"))
    for name in ("input", "prompt", "query", "text_1"):
        value = body.get(name)
        if items := _members(value):
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
    listed = _members(body.get("messages")) or _members(body.get("input"))
    for message in listed:
        text = _content(message.get("content"))
        calls = message.get("tool_calls")
        if calls and not text:
            text = f"calls {json.dumps(calls, ensure_ascii=False)}"
        found.append((str(message.get("role", "")), text))
    if not listed and (text := question_of(body)):
        found.append(("input", text))
    return found


def _members(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; nothing for whatever else somebody may have sent."""
    if not isinstance(value, list):
        return []
    return [member for member in value if isinstance(member, dict)]


def _content(value: Any) -> str:
    """A message's content: a text, or parts of which images are only named."""
    if isinstance(value, str):
        return value
    texts = []
    for part in _members(value):
        kind = str(part.get("type", ""))
        text = part.get("text")
        texts.append(text if isinstance(text, str) else f"[{kind or 'part'}]")
    return "\n".join(texts)


def _choice(body: dict[str, Any]) -> str:
    """Chat and plain completions: the first choice's text, or the tools it calls."""
    first = next(iter(_members(body.get("choices"))), {})
    message = first.get("message")
    if not isinstance(message, dict):
        return str(first.get("text") or "")
    if message.get("tool_calls"):
        return f"calls {json.dumps(message['tool_calls'], ensure_ascii=False)}"
    return _content(message.get("content")) or str(message.get("reasoning") or "")


def _response(body: dict[str, Any]) -> str:
    """The Responses endpoint: its output texts."""
    texts = [
        str(part.get("text", ""))
        for item in _members(body.get("output"))
        for part in _members(item.get("content"))
    ]
    return "\n".join(text for text in texts if text)


def _embedding(body: dict[str, Any]) -> str:
    vector = next(iter(_members(body.get("data"))), {}).get("embedding")
    return f"{len(vector):,} numbers" if isinstance(vector, list) else ""


def _scores(body: dict[str, Any]) -> str:
    """The score and rerank endpoints: the numbers, best first as they come."""
    rows = _members(body.get("data")) or _members(body.get("results"))
    numbers = [row.get("score", row.get("relevance_score")) for row in rows]
    known = [f"{n:.4g}" for n in numbers if isinstance(n, (int, float))]
    return ", ".join(known[:20])
