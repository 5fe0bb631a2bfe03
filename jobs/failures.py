# SPDX-License-Identifier: Apache-2.0
"""What failed rows have in common: the class of their error, and how many each has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, Max, Sum
from django.utils import timezone

from .answer_text import parsed
from .models import Batch, FailureCount, Result

# The words of a class: what engines send is used only where it reads as one.
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")
# Engines name the commonest failure of all by its message alone: vLLM ("maximum context
# length"), llama.cpp ("exceeds the available context size").
TOO_LONG = re.compile(r"context (length|size|window|is too long)|max_model_len", re.I)
TOO_LONG_CLASS = "context_length_exceeded"
# Longer bodies are no error objects.
PARSED_CHARACTERS = 20_000


def class_of(result: Result) -> str:
    """The class of a failed row's error, at most 64 characters; "" for an answered row.

    Our own code where the row never got an answer. Else what the engine's error object
    says: OpenAI's `code`, then its `type`; without either the status, as `http_500`.
    """
    if result.outcome != Result.Outcome.FAILED:
        return ""
    if result.error_code:
        return result.error_code
    error = _error_of(result.body)
    if TOO_LONG.search(str(error.get("message", ""))[:2000]):
        return TOO_LONG_CLASS
    for name in ("code", "type"):
        word = error.get(name)
        if isinstance(word, str) and WORD.fullmatch(word):
            return word
    return f"http_{result.status_code}"


def _error_of(body: str) -> dict[str, Any]:
    if len(body) > PARSED_CHARACTERS:
        return {}
    found = parsed(body)
    error = found.get("error", found) if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


def count(batch_pk: int, results: Sequence[Result]) -> None:
    """Add the failed ones of these to their classes' counts.

    Within the transaction that stores them, which holds the batch's row: nobody else
    counts for this batch meanwhile.
    """
    found = Counter(r.error_class for r in results if r.error_class)
    now = timezone.now()
    for error_class, rows in found.items():
        here = FailureCount.objects.filter(
            batch_id=batch_pk, error_class=error_class, hour=hour_of(now)
        )
        if not here.update(rows=F("rows") + rows, newest_at=now):
            FailureCount.objects.create(
                batch_id=batch_pk,
                error_class=error_class,
                hour=hour_of(now),
                rows=rows,
                newest_at=now,
            )


def hour_of(moment: datetime) -> datetime:
    """The hour that a moment lies in."""
    return moment.replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Summary:
    """How many rows failed with errors of one class, and when the newest did."""

    error_class: str
    rows: int
    newest_at: datetime


def summaries(batch: Batch) -> list[Summary]:
    """The batch's failed rows by the class of their error, most first."""
    found = (
        FailureCount.objects.filter(batch=batch)
        .values("error_class")
        .annotate(number=Sum("rows"), newest=Max("newest_at"))
        .order_by("-number", "error_class")
    )
    return [Summary(r["error_class"], r["number"], r["newest"]) for r in found]
