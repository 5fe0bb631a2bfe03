# SPDX-License-Identifier: Apache-2.0
"""Two texts word by word: which words only one of them has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

WORDS = re.compile(r"\s+|\w+|[^\w\s]")
# Matching takes the product of both lengths at worst: longer texts go by lines.
MOST_WORDS = 4_000


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one text; `changed`: the other text does not have it here."""

    text: str
    changed: bool


def differences(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in stretches, which put together are the texts."""
    ours, theirs = _parts(left, right)
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    found: tuple[list[Piece], list[Piece]] = ([], [])
    for tag, a, b, c, d in matcher.get_opcodes():
        changed = tag != "equal"
        for pieces, parts in ((found[0], ours[a:b]), (found[1], theirs[c:d])):
            if parts:
                pieces.append(Piece("".join(parts), changed))
    return found


def _parts(left: str, right: str) -> tuple[list[str], list[str]]:
    ours, theirs = WORDS.findall(left), WORDS.findall(right)
    if len(ours) <= MOST_WORDS and len(theirs) <= MOST_WORDS:
        return ours, theirs
    lines = left.splitlines(keepends=True), right.splitlines(keepends=True)
    if all(len(some) <= MOST_WORDS for some in lines):
        return lines
    # Nothing that could be matched in time: all of it differs, or nothing does.
    return [left], [right]
