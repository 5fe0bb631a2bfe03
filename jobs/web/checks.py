# SPDX-License-Identifier: Apache-2.0
"""The checks of a batch on its page: the card with their counts, and marks of rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from jobs import row_checks
from jobs.models import Batch, Result
from jobs.row_checks.rules import KINDS
from jobs.templatetags.figures import THINNEST, printable

Outcome = row_checks.Outcome
SHOWN_PARAMS = 120


@dataclass(frozen=True, slots=True)
class Line:
    """A check on the card, with its bar in hundredths and its links."""

    tally: row_checks.Tally
    says: str
    done: str
    failed: str
    errors: str
    failed_query: str
    errors_query: str

    @property
    def errors_at(self) -> str:
        """Where its bar's last part begins."""
        return f"{float(self.done) + float(self.failed):.2f}"

    @property
    def shown(self) -> tuple[object, ...]:
        """What the card displays of it."""
        check = self.tally.check
        return (check.name, check.checked_seq, check.failed, check.errors, check.passed)


def card(batch: Batch) -> dict[str, Any]:
    """The checks and their counts; `checking` while these will still change."""
    tallies = row_checks.tallies([batch]).get(batch.pk, [])
    behind = max((tally.pending for tally in tallies), default=0)
    return {
        "checks": [_line(tally) for tally in tallies],
        "checked": batch.result_seq - behind,
        "checking": bool(tallies) and (behind > 0 or not batch.is_terminal),
    }


def _line(tally: row_checks.Tally) -> Line:
    check = tally.check
    total = max(tally.results, check.checked_seq, 1)
    # A failed row among fifty thousand must still be seen.
    failed, errors = (
        max(part * 100 / total, THINNEST) if part else 0.0
        for part in (check.failed, check.errors)
    )
    done = min(check.passed * 100 / total, 100 - failed - errors)
    return Line(
        tally,
        _says(check.kind, json.loads(check.params)),
        done=f"{done:.2f}",
        failed=f"{failed:.2f}",
        errors=f"{errors:.2f}",
        failed_query=urlencode({"check": f"{check.name}:{Outcome.FAILED.value}"}),
        errors_query=urlencode({"check": f"{check.name}:{Outcome.ERROR.value}"}),
    )


def _says(kind: str, params: dict[str, Any]) -> str:
    """The check in words: its kind, and its parameters in short."""
    label = KINDS[kind].label if kind in KINDS else kind
    words = []
    for name, value in params.items():
        text = (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        )
        words.append(f"{name.replace('_', ' ')} {text}")
    text = ", ".join(words)
    short = f"{text[:SHOWN_PARAMS]}…" if len(text) > SHOWN_PARAMS else text
    return printable(f"{label}: {short}" if short else label)


@dataclass(frozen=True, slots=True)
class Marks:
    """What the checks said of a row: those that did not pass, and how many did."""

    flagged: Sequence[row_checks.Said]
    passed: int
    pending: int


def marks(batch: Batch, results: Sequence[Result]) -> dict[int, Marks]:
    """The marks of these results, by their keys; of a batch without checks none."""
    found = row_checks.outcomes_for(batch, results)
    return {
        pk: Marks(
            [one for one in said if one.outcome in row_checks.FOUND_BY_INDEX],
            sum(one.outcome == Outcome.PASSED for one in said),
            sum(one.outcome is None for one in said),
        )
        for pk, said in found.items()
    }
