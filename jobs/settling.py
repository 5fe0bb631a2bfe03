# SPDX-License-Identifier: Apache-2.0
"""The chore that writes beside each estimate what came of it, once the batch has ended."""

from __future__ import annotations

from django.db.models import QuerySet, Sum
from django.db.models.functions import Length
from django.utils import timezone

from .answer_text import CUT_OFF
from .lengths import Lengths
from .models import Batch, BatchEstimate, Result, ThroughputSample
from .models.engines import database_time

# The engine workers' last samples of a batch come a few seconds after its end.
WAIT_SECONDS = 30
MOST_AT_ONCE = 100
LOOKED_AT = 1000
# Samples of less of the requests tell nothing of the whole.
COVERED = 0.8


def wanted() -> bool:
    """Whether a batch has ended whose estimate is not settled."""
    return _due().exists()


def run() -> str:
    """Settle them; says how many."""
    count = sum(settle(one) for one in _due()[:MOST_AT_ONCE])
    return f"{count} estimates settled"


def _due() -> QuerySet[BatchEstimate]:
    return (
        BatchEstimate.objects.filter(
            settled_at__isnull=True,
            batch__status__in=Batch.TERMINAL,
            batch__closed_at__lt=database_time(-WAIT_SECONDS),
        )
        .select_related("batch")
        .order_by("made_at")
    )


def settle(one: BatchEstimate) -> bool:
    """Fill in what came; False when another worker was faster."""
    seconds, note = ran_seconds(one)
    characters, tokens, lengths = look_at_answers(one.batch)
    won = BatchEstimate.objects.filter(pk=one.pk, settled_at__isnull=True).update(
        settled_at=timezone.now(),
        ran_seconds=seconds,
        note=note,
        ran_input_tokens=one.batch.input_tokens,
        ran_output_tokens=one.batch.output_tokens,
        characters=characters,
        character_tokens=tokens,
        lengths=lengths.as_json(),
    )
    return bool(won)


def ran_seconds(one: BatchEstimate) -> tuple[float | None, str]:
    """What the batch would have taken alone on one engine, or why that is not known.

    Added up of what it had of its engines, so that pauses, waiting and the work of
    others are left out. What a killed worker did not write down is filled up in
    proportion.
    """
    if one.batch.status != Batch.Status.COMPLETED:
        return None, f"the batch is {one.batch.status}"
    sums = ThroughputSample.objects.filter(batch=one.batch).aggregate(
        seconds=Sum("engine_seconds"), rows=Sum("rows")
    )
    rows, seconds = sums["rows"] or 0, sums["seconds"] or 0.0
    if not one.rows or not seconds or rows < one.rows * COVERED:
        return None, f"only {rows:,} of {one.rows:,} requests were timed"
    covered = min(rows / one.rows, 1.0)
    left_out = "" if covered > 0.99 else f"{rows:,} of {one.rows:,} requests were timed"
    return float(seconds / covered), left_out


def look_at_answers(batch: Batch) -> tuple[int, int, Lengths]:
    """Characters and input tokens of up to 1,000 answered requests, their answers' lengths.

    These are spread evenly over the input. Copies have no tokens and are left out.
    """
    some = min(batch.total, LOOKED_AT)
    places = [n * batch.total // some for n in range(some)]
    lengths = Lengths()
    characters = tokens = 0
    answers = Result.objects.filter(
        batch=batch, outcome=Result.Outcome.COMPLETED, input_tokens__gt=0
    )
    # In slices: SQLite takes only so many parameters.
    for start in range(0, len(places), 500):
        rows = answers.filter(index__in=places[start : start + 500])
        for size, given, made, reason in rows.annotate(
            size=Length("request__body")
        ).values_list("size", "input_tokens", "output_tokens", "finish_reason"):
            characters += size
            tokens += given
            lengths.add(made, cut=reason in CUT_OFF)
    return characters, tokens, lengths
