# SPDX-License-Identifier: Apache-2.0
"""Which of many answers are judged: by chance, by kind, by doubt. Read once, in any turns.

Each answer gets a stratum and a rank; the lowest ranks of each stratum are kept, and
in the end the strata share what is wanted. The same answers are chosen each time, and
what was kept so far is plain JSON: another process can go on with it.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from typing import Any

from jobs.answer_text import first_choice, members, parsed, text_of
from jobs.models import Result

from .models import Choosing

# Kinds of answers beyond these are one kind together.
STRATA_MOST = 50
LABEL_LENGTH = 60
COMPARED_CHARACTERS = 1000
OTHER = "other"


class Sample:
    """The best so far of each stratum: (rank, index), at most `most` of each."""

    def __init__(self, most: int, kept: Mapping[str, Any] | None = None) -> None:
        self.most = most
        # Heaps of the worst first, so that it is the one to go.
        self._kept: dict[str, list[tuple[float, int]]] = {
            stratum: [(-rank, -index) for rank, index in rows]
            for stratum, rows in (kept or {}).items()
        }
        for heap in self._kept.values():
            heapq.heapify(heap)

    def add(self, stratum: str, rank: float, index: int) -> None:
        """Keep it where it is among the best of its stratum."""
        if stratum not in self._kept and len(self._kept) >= STRATA_MOST:
            stratum = OTHER
        heap = self._kept.setdefault(stratum, [])
        row = (-rank, -index)
        if len(heap) < self.most:
            heapq.heappush(heap, row)
        elif row > heap[0]:
            heapq.heapreplace(heap, row)

    def as_json(self) -> dict[str, list[list[float]]]:
        """What `kept` takes."""
        return {
            stratum: [[-rank, -index] for rank, index in heap]
            for stratum, heap in self._kept.items()
        }

    def chosen(self) -> list[int]:
        """The indexes: from each stratum its best in turn, until there are enough."""
        best = [
            sorted((-rank, -index) for rank, index in heap)
            for _, heap in sorted(self._kept.items())
        ]
        found: list[int] = []
        for turn in range(self.most):
            for rows in best:
                if turn < len(rows) and len(found) < self.most:
                    found.append(int(rows[turn][1]))
        return sorted(found)


def place(
    how: str, result: Result, others: Iterable[Result], *, salt: str
) -> tuple[str, float] | None:
    """Stratum and rank of an answer; None where this way of choosing leaves it out.

    `others` are answers of other batches to the same request.
    """
    chance = by_chance(salt, result.request.custom_id)
    if how == Choosing.STRATIFIED:
        return stratum_of(result), chance
    if how == Choosing.LEAST_CERTAIN:
        sure = certainty(result.body)
        return None if sure is None else ("", sure)
    if how == Choosing.DISAGREEMENT:
        alike = max((likeness(result.body, o.body) for o in others), default=1.0)
        return None if alike == 1.0 else ("", alike)
    return "", chance


def by_chance(salt: str, key: str) -> float:
    """A number of 0 to 1 that looks random and is always the same."""
    digest = hashlib.sha256(f"{salt}/{key}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


def stratum_of(result: Result) -> str:
    """What kind of answer it is: the model, how it ended, and what it says if short."""
    text = " ".join(text_of(parsed(result.body)).split())
    said = text.casefold().rstrip(".!") if len(text) <= LABEL_LENGTH else "a text"
    return f"{result.request.model}|{result.finish_reason}|{said}"


def certainty(body: str) -> float | None:
    """The mean log probability of an answer's tokens; None where they were not asked for.

    `logprobs` as chat completions have it (choices[0].logprobs.content[].logprob), or
    as completions do (choices[0].logprobs.token_logprobs).
    """
    said = parsed(body)
    logprobs = first_choice(said).get("logprobs") if isinstance(said, dict) else None
    if not isinstance(logprobs, dict):
        return None
    values = [token.get("logprob") for token in members(logprobs.get("content"))]
    if not values and isinstance(logprobs.get("token_logprobs"), list):
        values = logprobs["token_logprobs"]
    known = [v for v in values if isinstance(v, (int, float)) and abs(v) < 1e15]
    return sum(known) / len(known) if known else None


def likeness(one: str, other: str) -> float:
    """How far two answers say the same, 0 to 1; 1 is the same but for spaces.

    The share of matching characters (difflib's ratio) of their beginnings.
    """
    texts = [" ".join(text_of(parsed(body)).split()) for body in (one, other)]
    if texts[0] == texts[1]:
        return 1.0
    one, other = (text[:COMPARED_CHARACTERS] for text in texts)
    ratio = SequenceMatcher(None, one, other, autojunk=False).ratio()
    # Two texts that differ are never quite alike.
    return min(ratio, 0.999)
