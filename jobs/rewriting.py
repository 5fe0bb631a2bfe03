# SPDX-License-Identifier: Apache-2.0
"""Changing members of a stored request body and leaving all else as it was written.

Numbers, escapes and spaces of what is not changed stay: a body that was read and
written anew would not be the same (1.0, 1e400, lone surrogates).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from .jsonl import parse_array, parse_object

# A newer name for the system message of a chat; both come first.
SYSTEM_ROLES = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Members to set (None: to remove), and a system message for chats."""

    members: Mapping[str, Any] = field(default_factory=dict)
    system_prompt: str | None = None

    def __bool__(self) -> bool:
        return bool(self.members) or self.system_prompt is not None

    def apply(self, body: str) -> str:
        """The changed body as JSON text; the same text when there is nothing to change."""
        if not self:
            return body
        parts = {
            key: body[at.start : at.end] for key, (_, at) in parse_object(body).items()
        }
        for key, value in self.members.items():
            if value is None:
                parts.pop(key, None)
            else:
                parts[key] = json.dumps(value)
        if self.system_prompt is not None:
            parts["messages"] = with_system(
                parts.get("messages", "[]"), self.system_prompt
            )
        return _joined(parts)


def with_system(messages: str, prompt: str) -> str:
    """The JSON array of messages with this one in place of the system messages it begins with.

    The first of them keeps its role and name. Later ones, behind a message of somebody
    else, belong to the talk and stay.
    """
    try:
        found = parse_array(messages)
    except ValueError:
        # Not a list: the engine will say so, as it would have before.
        return messages
    entries = [messages[at.start : at.end] for _, at in found]
    leading = list(takewhile(_is_system, (value for value, _ in found)))
    parts = {"role": '"system"'}
    if leading:
        parts = {
            key: entries[0][at.start : at.end]
            for key, (_, at) in parse_object(entries[0]).items()
        }
    parts["content"] = json.dumps(prompt)
    return f"[{', '.join([_joined(parts), *entries[len(leading) :]])}]"


def _is_system(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in SYSTEM_ROLES


def _joined(parts: Mapping[str, str]) -> str:
    members = ", ".join(f"{json.dumps(key)}: {text}" for key, text in parts.items())
    return f"{{{members}}}"
