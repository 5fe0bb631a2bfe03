# SPDX-License-Identifier: Apache-2.0
"""One batch in the browser: its live numbers, results, files and history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from batchsite.accounts.permissions import user_may
from jobs import extensions, standing
from jobs.access import get_batch, person
from jobs.models import Batch, BatchEstimate
from jobs.result_search import FAILED, ResultFilter, search
from jobs.retry import may_retry
from jobs.templatetags.figures import duration

from . import checks, deleted, engines, previews
from .addresses import whole
from .checks_form import CheckForm
from .conditional import fragment, page
from .progress import progress, spoken_range

# Error lists are read on the page up to here; the report holds all of them.
SHOWN_ERRORS = 100
EVENTS = 12
SHOWN_RETRIES = 10
FIRST_RESULTS = 10
FIRST_FAILURES = 5
# Each with its word; the address is "batch-" and the name.
TABS = (
    ("detail", "Overview"),
    ("results", "Results"),
    ("errors", "Errors"),
    ("log", "Log"),
    ("config", "Config"),
    ("api", "API"),
)


def tabs() -> list[tuple[str, str]]:
    """The tabs of a batch, those of other apps too."""
    return [*TABS, *extensions.batch_tabs]


@dataclass(frozen=True, slots=True)
class Expectation:
    """An estimate in words: `expected` time, what it `took`; empty where not known."""

    estimate: BatchEstimate
    expected: str
    took: str


@require_safe
@login_required
def batch_detail(request: HttpRequest, code: str) -> HttpResponse:
    """One batch with its live numbers, results, files and history."""
    try:
        batch = get_batch(request, code)
    except Http404:
        return deleted.gone(request, code)
    if getattr(request, "htmx", False):
        return _batch_poll(request, batch)
    return whole_page(request, batch)


def whole_page(
    request: HttpRequest, batch: Batch, *, check_form: CheckForm | None = None
) -> HttpResponse:
    """The batch's overview; with a form for a check that was refused, open at it."""
    ctx = tab_context(request, batch, tab="detail") | _around(request, batch)
    found = search(batch, ResultFilter(), limit=FIRST_RESULTS).rows
    marks = checks.marks(batch, found)
    ctx |= {
        "rows": [previews.row(result, marks.get(result.pk)) for result in found],
        "failures": _failures(batch),
        **_lineage(batch),
        **checks.card(batch),
    }
    ctx["check_form"] = check_form or (CheckForm() if ctx["may_write"] else None)
    return page(request, "jobs/batch_detail.html", ctx)


def tab_context(request: HttpRequest, batch: Batch, *, tab: str) -> dict[str, Any]:
    """What stands above every tab of a batch: its head, the tabs, the live numbers."""
    return {
        **_live(batch, seen=batch.result_seq),
        **_actions(request, batch),
        "tab": tab,
        "tabs": tabs(),
    }


def _batch_poll(request: HttpRequest, batch: Batch) -> HttpResponse:
    """The live numbers; and what else changed since the page that asks was written."""
    seen = whole(request.GET.get("seq"), default=0)
    tab = request.GET.get("tab", "detail")
    ctx = _live(batch, seen=seen) | {"tab": tab, "tabs": tabs()}
    moved = request.GET.get("was") != state_of(batch)
    failed_before = whole(request.GET.get("failed"), default=0)
    if moved:
        ctx |= _actions(request, batch)
        ctx |= _around(request, batch) if tab == "detail" else {}
    if tab == "detail" and batch.failed > failed_before < FIRST_FAILURES:
        ctx["failures"] = _failures(batch)
    ctx |= {"moved": moved, "oob": True}
    shown = (ctx["progress"].shown, batch.completed, batch.failed, seen, moved, tab)
    return fragment(request, "jobs/_batch_poll.html", ctx, shown)


def state_of(batch: Batch) -> str:
    """What decides which actions the page offers."""
    return f"{batch.status}{'-paused' if batch.paused else ''}"


def _live(batch: Batch, *, seen: int) -> dict[str, Any]:
    def why_waiting() -> str:
        return engines.waiting_reason(batch, engines.engines())

    place = standing.of([batch]).get(batch.public_id)
    return {
        "batch": batch,
        "state": state_of(batch),
        "progress": progress(
            batch,
            why_waiting=why_waiting,
            end=place.eta if place else None,
            at_risk=place is not None and place.at_risk,
        ),
        "seen": seen,
        "fresh_results": max(batch.result_seq - seen, 0),
    }


def _around(request: HttpRequest, batch: Batch) -> dict[str, Any]:
    """What changes only with the status: the timeline, files, errors, actions."""
    errors = (batch.errors or {}).get("data") or []
    events = list(batch.events.order_by("-pk")[:EVENTS])
    return {
        "steps": _steps(batch),
        "files": [
            (label, file)
            for label, file in (
                ("input", batch.input_file),
                ("output", batch.output_file),
                ("errors", batch.error_file),
            )
            if file is not None
        ],
        "errors": errors[:SHOWN_ERRORS],
        "more_errors": max(len(errors) - SHOWN_ERRORS, 0),
        "expected": expectation(batch),
        "events": events,
    }


def _actions(request: HttpRequest, batch: Batch) -> dict[str, Any]:
    """What the person may do with the batch as it is."""
    may_write = user_may(person(request), batch.team, "batches:write")
    return {
        "may_write": may_write,
        "can_retry": may_write and may_retry(batch),
        "can_change": batch.status in standing.WAITING,
        "type_name": deleted.must_be_typed(batch),
        "deleted_days": settings.BATCHSITE_DELETED_DAYS,
    }


def expectation(batch: Batch) -> Expectation | None:
    """What was expected when the batch began to run, and what came; None: nothing yet."""
    one = BatchEstimate.objects.filter(batch=batch).first()
    if one is None:
        return None
    expected = took = ""
    if one.seconds_low is not None and one.seconds_high is not None:
        expected = spoken_range(one.seconds_low, one.seconds_high)
    if one.ran_seconds is not None:
        took = duration(one.ran_seconds)
    return Expectation(one, expected, took)


def _lineage(batch: Batch) -> dict[str, Any]:
    """The batch that this one was made of, and those that were made of it."""
    if not batch.is_terminal:
        # Only what has ended is run again.
        return {"parent": batch.parent}
    children = list(
        Batch.objects.filter(parent=batch)
        .kept()
        .select_related("input_file")
        .order_by("pk")[: SHOWN_RETRIES + 1]
    )
    return {
        "parent": batch.parent,
        "children": children[:SHOWN_RETRIES],
        "more_children": len(children) > SHOWN_RETRIES,
    }


def _steps(batch: Batch) -> list[dict[str, Any]]:
    """The timestamps in order, each with the time since the one before."""
    moments = [
        ("created", batch.created_at),
        ("started", batch.in_progress_at),
        ("finalizing", batch.finalizing_at),
        ("cancelling", batch.cancelling_at),
        ("completed", batch.completed_at),
        ("failed", batch.failed_at),
        ("expired", batch.expired_at),
        ("cancelled", batch.cancelled_at),
    ]
    steps: list[dict[str, Any]] = []
    for word, at in sorted(
        ((word, at) for word, at in moments if at), key=lambda step: step[1]
    ):
        steps.append(
            {"word": word, "at": at, "after": at - steps[-1]["at"] if steps else None}
        )
    return steps


def _failures(batch: Batch) -> list[previews.Row]:
    if not batch.failed:
        return []
    found = search(batch, FAILED, limit=FIRST_FAILURES)
    return [previews.row(result) for result in found.rows]
