# SPDX-License-Identifier: Apache-2.0
"""What a check may say of an answer, and how that is kept: one letter for each check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from jobs.jsonl import quoted

REASON_LENGTH = 200
PENDING = "-"


class Outcome(Enum):
    """A check's word on one row."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"
    ERROR = "error"

    @property
    def letter(self) -> str:
        """Its place in a row's outcomes."""
        return LETTERS[self]


LETTERS = {
    Outcome.PASSED: "p",
    Outcome.FAILED: "f",
    Outcome.NOT_APPLICABLE: "n",
    Outcome.ERROR: "e",
}
OF_LETTER = {letter: outcome for outcome, letter in LETTERS.items()}


class NotApplicable(Exception):
    """The row has nothing that the check could judge; the message says why."""


class CannotTell(Exception):
    """The check gives up on this row: too large, too deep, too slow."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An outcome and, unless it passed, why in words; these may quote the answer."""

    outcome: Outcome
    reason: str = ""


def finding(outcome: Outcome, reason: str = "") -> Finding:
    """With a reason that every database can hold."""
    return Finding(outcome, quoted(reason, REASON_LENGTH)[:REASON_LENGTH])
