# SPDX-License-Identifier: Apache-2.0
"""Examples for a prompt, and parts of a dataset: chosen the same way each time."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# A token is about four characters of English text (OpenAI's guide to tokens).
CHARACTERS_A_TOKEN = 4
# Further ones cannot be told apart by their words any more.
CONSIDERED = 2000
WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Example:
    """A question and its right answer; a higher `quality` comes first."""

    key: str
    question: str
    answer: str
    quality: float = 0.0

    @property
    def tokens(self) -> int:
        """About how many tokens it takes in a prompt."""
        return -(-len(self.question + self.answer) // CHARACTERS_A_TOKEN) + 4


def choose(examples: Iterable[Example], *, most: int, tokens: int) -> list[Example]:
    """Up to `most` examples within so many tokens, good ones that differ from each other.

    The best one first; then each time the one that is least like those chosen so far
    (Jaccard distance of the questions' words), of equal ones the better. What does
    not fit any more is passed over. Of the same examples the same are chosen.
    """
    ranked = sorted(examples, key=lambda one: (-one.quality, one.key))[:CONSIDERED]
    words = {one.key: frozenset(WORD.findall(one.question.lower())) for one in ranked}
    distance = dict.fromkeys(words, 1.0)
    chosen: list[Example] = []
    left = tokens
    while len(chosen) < most:
        fitting = [one for one in ranked if one.tokens <= left and one.key in distance]
        if not fitting:
            break
        # max() keeps the first of equal ones, which is the better.
        found = max(fitting, key=lambda one: distance[one.key])
        chosen.append(found)
        left -= found.tokens
        del distance[found.key]
        for key in distance:
            apart = 1 - _alike(words[key], words[found.key])
            distance[key] = min(distance[key], apart)
    return chosen


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    whole = len(one | other)
    return len(one & other) / whole if whole else 1.0


def as_text(examples: Sequence[Example]) -> str:
    """The examples as they stand in a prompt."""
    return "\n\n".join(f"Input: {e.question}\nOutput: {e.answer}" for e in examples)


def as_messages(examples: Sequence[Example]) -> list[dict[str, str]]:
    """The examples as turns of a chat."""
    return [
        message
        for one in examples
        for message in (
            {"role": "user", "content": one.question},
            {"role": "assistant", "content": one.answer},
        )
    ]


def with_examples(body: dict[str, Any], examples: Sequence[Example]) -> dict[str, Any]:
    """A chat request with the examples as turns before its last message."""
    messages = list(body.get("messages") or [])
    head, last = messages[:-1], messages[-1:]
    return {**body, "messages": [*head, *as_messages(examples), *last]}


def is_test(key: str, *, share: float, salt: str = "") -> bool:
    """Whether the row belongs to the test part of that share, 0 to 1.

    By its key alone: a row stays where it is however a dataset grows.
    """
    digest = hashlib.sha256(json.dumps([salt, key]).encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
