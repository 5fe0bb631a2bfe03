# SPDX-License-Identifier: Apache-2.0
"""What a stored result says, as people read it."""

from __future__ import annotations

from .answer_text import parsed, question_of, text_of
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
