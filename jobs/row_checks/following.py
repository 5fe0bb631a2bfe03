# SPDX-License-Identifier: Apache-2.0
"""The chore that puts answers to the checks of their batches, as they come.

It follows `result_seq`, apart from the engines' writer and from the batch's row. Each
slice is one transaction: the run's epoch as the fence, the outcomes, the checks'
counters and cursors. Whoever is killed leaves nothing of a slice, and the run is free
again after some seconds.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Length, Now

from jobs import answer_text
from jobs.models import Batch, CheckRun, Result, RowCheck, RowOutcome
from jobs.models.engines import database_time
from jobs.output import fitting
from jobs.tasks import poke_chore

from .definitions import judge
from .outcome import PENDING, Finding, Outcome

logger = logging.getLogger(__name__)
CHORE = "row checks"
# Short, so that intake and closing never wait long for a worker.
TURN_SECONDS = 5
# Of judging, before what was judged is stored.
SLICE_SECONDS = 2
# With many checks that fail, more would keep SQLite locked for too long.
SLICE_ROWS = 250
# A run whose worker died is taken again after so long.
TAKEN_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Slice:
    """Checks that have come equally far, and the results that come next for them."""

    checks: Sequence[RowCheck]
    results: Sequence[Result]


def wanted() -> bool:
    """Whether some run is free and has something to do."""
    return _due().exists()


def run() -> str:
    """Check for some seconds, run after run; says how many results.

    Where more is left it wakes a worker again, behind those that wait by then.
    """
    started = time.monotonic()
    rows = 0
    while found := _due().first():
        if time.monotonic() - started > TURN_SECONDS:
            poke_chore(CHORE)
            return f"{rows} results checked, goes on"
        rows += follow(found)
    return f"{rows} results checked"


def _due() -> QuerySet[CheckRun]:
    """Free runs with results that were not checked, or whose batch has ended."""
    batch = Batch.objects.filter(pk=OuterRef("batch_id")).order_by()
    checks = RowCheck.objects.filter(batch=OuterRef("batch_id"))
    # Values, not EXISTS, for which PostgreSQL may read all batches.
    return (
        CheckRun.objects.free()
        .alias(
            newest=Subquery(batch.values("result_seq")[:1]),
            status=Subquery(batch.values("status")[:1]),
            slowest=Subquery(checks.order_by("checked_seq").values("checked_seq")[:1]),
        )
        .filter(Q(slowest__lt=F("newest")) | Q(status__in=Batch.TERMINAL))
    )


def follow(found: CheckRun) -> int:
    """Check one slice of a run; how many results, 0 when somebody else was quicker."""
    epoch = found.epoch + 1
    taken = CheckRun.objects.free().filter(pk=found.pk, epoch=found.epoch).order_by()
    if not taken.update(epoch=epoch, free_at=database_time(TAKEN_SECONDS)):
        return 0
    mine = CheckRun.objects.filter(pk=found.pk, epoch=epoch)
    # Together: what has ended gets no results after these.
    batch = Batch.objects.only("status", "result_seq").get(pk=found.pk)
    part = _next_slice(batch)
    if part is None:
        mine.update(free_at=Now(), done=batch.is_terminal)
        return 0
    judged = _judge(part, _keeper(mine))
    # Read before the transaction: as long as the epoch is ours, nobody else writes.
    known = RowOutcome.objects.in_bulk(list(judged))
    rows = [
        _row(known.get(pk) or _fresh(result), part.checks, findings)
        for pk, (result, findings) in judged.items()
    ]
    with transaction.atomic():
        if not mine.update(free_at=Now()):
            # Somebody took the run, or gave it more checks.
            return 0
        _store(rows, known)
        _count(part.checks, judged)
    return len(judged)


def _keeper(mine: QuerySet[CheckRun]) -> Callable[[], None]:
    """Puts the run's `free_at` ahead when that is due; slow checks call it often."""
    kept = time.monotonic()

    def keep() -> None:
        nonlocal kept
        if time.monotonic() - kept > TAKEN_SECONDS / 4:
            kept = time.monotonic()
            mine.update(free_at=database_time(TAKEN_SECONDS))

    return keep


def _next_slice(batch: Batch) -> Slice | None:
    """What comes next for the checks that are furthest behind; None: all is checked.

    They stop where others go on, so that from there on all are put to a row at once.
    """
    checks = list(RowCheck.objects.filter(batch=batch))
    last = min((check.checked_seq for check in checks), default=batch.result_seq)
    behind = [check for check in checks if check.checked_seq == last]
    ahead = [check.checked_seq for check in checks if check.checked_seq > last]
    top = min([batch.result_seq, last + SLICE_ROWS, *ahead])
    if top <= last:
        return None
    found = Result.objects.filter(batch=batch, seq__gt=last, seq__lte=top)
    sizes = found.order_by("seq").values_list("seq", Length("body"))
    rows = fitting(size for _, size in sizes)
    results = found.order_by("seq").only(
        "batch_id", "index", "seq", "outcome", "body", "finish_reason"
    )
    return Slice(behind, list(results[:rows]))


def _judge(
    part: Slice, keep: Callable[[], None]
) -> dict[int, tuple[Result, list[Finding]]]:
    """Findings by the result's key, one for each check; stops when the time is over."""
    started = time.monotonic()
    judged: dict[int, tuple[Result, list[Finding]]] = {}
    for result in part.results:
        answer = None
        if result.outcome == Result.Outcome.COMPLETED:
            answer = answer_text.read(result.body, result.finish_reason)
        findings = []
        for check in part.checks:
            keep()
            findings.append(judge(check.kind, check.params, answer))
        judged[result.pk] = result, findings
        if time.monotonic() - started > SLICE_SECONDS:
            break
    return judged


def _store(rows: Sequence[RowOutcome], known: Container[int]) -> None:
    """Insert the outcomes, and replace those that are known; behind the fence.

    Never over a row that was not read: two writers of one row are a fault to be seen.
    """
    RowOutcome.objects.bulk_create([row for row in rows if row.pk not in known])
    RowOutcome.objects.bulk_create(
        [row for row in rows if row.pk in known],
        update_conflicts=True,
        unique_fields=["result"],
        update_fields=["letters", "reasons", "failed", "flagged"],
    )


def _count(
    checks: Sequence[RowCheck], judged: Mapping[int, tuple[Result, list[Finding]]]
) -> None:
    """Counters and cursors, in the transaction of the outcomes that they count."""
    last = max(result.seq for result, _ in judged.values())
    for place, check in enumerate(checks):
        said = Counter(findings[place].outcome for _, findings in judged.values())
        RowCheck.objects.filter(pk=check.pk).update(
            checked_seq=last,
            passed=F("passed") + said[Outcome.PASSED],
            failed=F("failed") + said[Outcome.FAILED],
            not_applicable=F("not_applicable") + said[Outcome.NOT_APPLICABLE],
            errors=F("errors") + said[Outcome.ERROR],
        )


def _fresh(result: Result) -> RowOutcome:
    return RowOutcome(result=result, batch_id=result.batch_id, index=result.index)


def _row(
    row: RowOutcome, checks: Sequence[RowCheck], findings: Sequence[Finding]
) -> RowOutcome:
    """The row with these findings beside those that it has."""
    letters = list(row.letters)
    reasons = json.loads(row.reasons or "{}")
    for check, found in zip(checks, findings, strict=True):
        letters += [PENDING] * (check.position + 1 - len(letters))
        letters[check.position] = found.outcome.letter
        if found.reason:
            reasons[str(check.position)] = found.reason
    row.letters = "".join(letters)
    row.reasons = json.dumps(reasons) if reasons else ""
    row.failed = letters.count(Outcome.FAILED.letter)
    row.flagged = bool(row.failed) or Outcome.ERROR.letter in letters
    return row
