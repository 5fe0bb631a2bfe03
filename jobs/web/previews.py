# SPDX-License-Identifier: Apache-2.0
"""What an answer says, in one line. Answers are hostile text: only plain text leaves here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jobs.answer_text import first_choice, members, response_text
from jobs.models import Result
from jobs.templatetags.figures import printable

from .checks import Marks
from .pages import SHOWN_CHARACTERS


@dataclass(frozen=True)
class Row:
    """A result as the table shows it."""

    result: Result
    text: str
    failed: bool
    marks: Marks | None = None


def row(result: Result, marks: Marks | None = None) -> Row:
    """The result with its answer or error in plain text, and what its checks said."""
    failed = result.outcome == Result.Outcome.FAILED
    text = failure(result) if failed else answer(result)
    return Row(result, printable(text)[:SHOWN_CHARACTERS], failed, marks)


def failure(result: Result) -> str:
    """Why a row failed: our own words, or the engine's message."""
    if result.error_code:
        return result.error_message or result.error_code
    body = _parsed(result)
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return str(error) if isinstance(error, str) else _start(result)


def answer(result: Result) -> str:
    """The text of an answer of any endpoint, else the start of its JSON."""
    body = _parsed(result)
    if not isinstance(body, dict):
        return _start(result)
    for read in (_choice, response_text, _embedding):
        if text := read(body):
            return text
    return _start(result)


def _parsed(result: Result) -> Any:
    try:
        return json.loads(getattr(result, "answer", "") or "null")
    except (ValueError, RecursionError):
        return None


def _start(result: Result) -> str:
    return str(getattr(result, "start", ""))


def _choice(body: dict[str, Any]) -> str:
    """Chat and plain completions: the first choice's text, or the tools it calls."""
    first = first_choice(body)
    message = first.get("message")
    if not isinstance(message, dict):
        return str(first.get("text") or "")
    if message.get("tool_calls"):
        return f"calls {json.dumps(message['tool_calls'], ensure_ascii=False)}"
    return str(message.get("content") or message.get("reasoning") or "")


def _embedding(body: dict[str, Any]) -> str:
    vector = next(iter(members(body.get("data"))), {}).get("embedding")
    return f"{len(vector):,} numbers" if isinstance(vector, list) else ""
