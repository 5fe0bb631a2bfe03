# SPDX-License-Identifier: Apache-2.0
"""Batches and engines in the browser."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.text import get_valid_filename
from django.views.decorators.http import require_POST, require_safe

from batchsite.accounts.addresses import client_address
from batchsite.accounts.permissions import user_may
from jobs import file_store, lifecycle, submit
from jobs.access import get_batch, get_file, person
from jobs.models import Batch, Result, ServedModel

from . import engines, pages, previews
from .conditional import fragment, page
from .progress import progress

# Error lists are read on the page up to here; the report holds all of them.
SHOWN_ERRORS = 100
EVENTS = 50


@require_safe
@login_required
def batch_list(request: HttpRequest) -> HttpResponse:
    """The batches of the person's teams, newest first; polls get the rows alone."""
    user = person(request)
    found = pages.batches(user, request.GET)
    status = request.GET.get("status", "")
    ctx: dict[str, Any] = {
        "page": found,
        "status": status,
        "filtered": bool(request.GET),
        "active": any(not batch.is_terminal for batch in found.batches),
        "address": request.get_full_path(),
    }
    if getattr(request, "htmx", False):
        shown = (found.shown, found.newer, found.older)
        return fragment(request, "jobs/_batch_rows.html", ctx, shown)
    ctx["bar"] = pages.BAR
    if not found.batches and not request.GET:
        ctx |= _first_steps(request)
    return page(request, "jobs/batch_list.html", ctx)


def _first_steps(request: HttpRequest) -> dict[str, Any]:
    model = ServedModel.objects.enabled().values_list("name", flat=True).first()
    return {
        "base_url": request.build_absolute_uri("/v1"),
        "model": model or "your-model",
        "has_model": model is not None,
    }


@require_safe
@login_required
def batch_detail(request: HttpRequest, code: str) -> HttpResponse:
    """One batch with its live numbers, results, files and history."""
    batch = get_batch(request, code)
    if getattr(request, "htmx", False):
        return _batch_poll(request, batch)
    outcome = request.GET.get("outcome", "")
    after = _whole(request.GET.get("after"), default=-1)
    rows = pages.results(batch, outcome=outcome, after=after)
    more = len(rows) > pages.RESULTS
    rows = rows[: pages.RESULTS]
    ctx = _live(batch, seen=batch.result_seq) | _around(request, batch)
    ctx |= {
        "rows": [previews.row(result) for result in rows],
        "next_after": rows[-1].index if rows and more else None,
        "after": after,
        "outcome": outcome,
        "outcomes": Result.Outcome.values,
        "failures": _failures(batch),
    }
    return page(request, "jobs/batch_detail.html", ctx)


def _batch_poll(request: HttpRequest, batch: Batch) -> HttpResponse:
    """The live numbers; and what else changed since the page that asks was written."""
    seen = _whole(request.GET.get("seq"), default=0)
    ctx = _live(batch, seen=seen)
    moved = request.GET.get("was") != batch.status
    failed_before = _whole(request.GET.get("failed"), default=0)
    if moved:
        ctx |= _around(request, batch)
    if batch.failed > failed_before and failed_before < pages.FIRST_FAILURES:
        ctx["failures"] = _failures(batch)
    ctx |= {"moved": moved, "oob": True}
    shown = (ctx["progress"].shown, batch.completed, batch.failed, seen, moved)
    return fragment(request, "jobs/_batch_poll.html", ctx, shown)


def _live(batch: Batch, *, seen: int) -> dict[str, Any]:
    def why_waiting() -> str:
        return engines.waiting_reason(batch, engines.engines())

    return {
        "batch": batch,
        "progress": progress(batch, why_waiting=why_waiting),
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
        "events": events,
        "may_cancel": user_may(person(request), batch.team, "batches:write"),
        "can_cancel": batch.status
        in (Batch.Status.VALIDATING, Batch.Status.IN_PROGRESS),
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
    rows = pages.results(batch, outcome=Result.Outcome.FAILED)
    return [previews.row(result) for result in rows[: pages.FIRST_FAILURES]]


def _whole(text: str | None, *, default: int) -> int:
    """A whole number of the address that fits a column, else the default."""
    try:
        number = int(text or "")
    except ValueError:
        return default
    return number if -1 <= number < 2**31 else default


@require_POST
@login_required
def batch_cancel(request: HttpRequest, code: str) -> HttpResponse:
    """Cancel the batch; a second time changes nothing, too late is said in words."""
    batch = get_batch(request, code, right="batches:write")
    try:
        submit.cancel_batch(
            batch=batch, user=person(request), address=client_address(request)
        )
    except lifecycle.CannotCancel as refused:
        word = refused.status.replace("_", " ")
        messages.warning(request, f"Nothing to cancel: the batch is {word}.")
    else:
        messages.info(request, "The batch is being cancelled; its results are kept.")
    return redirect("batch-detail", code=batch.public_id)


@require_safe
@login_required
def batch_error_report(request: HttpRequest, code: str) -> FileResponse:
    """Every bad line of a failed batch's input file, as JSONL."""
    batch = get_batch(request, code)
    if not batch.error_report:
        raise Http404("This batch has no error report.")
    return FileResponse(
        default_storage.open(batch.error_report),
        as_attachment=True,
        filename=f"{batch.public_id}_errors.jsonl",
        content_type="application/jsonl",
    )


@require_safe
@login_required
def file_download(request: HttpRequest, code: str) -> FileResponse:
    """The file's bytes, always as a download: a browser must not render them."""
    file = get_file(request, code)
    try:
        content = file_store.open_content(
            file=file, user=person(request), address=client_address(request)
        )
    except FileNotFoundError as gone:
        raise Http404("The bytes of this file are gone.") from gone
    return FileResponse(
        content,
        as_attachment=True,
        filename=get_valid_filename(file.filename or file.public_id),
        content_type="application/jsonl",
    )


@require_safe
@login_required
def engine_list(request: HttpRequest) -> HttpResponse:
    """Engines with their state in words, gauges and what is missing."""
    cards = [engines.card(engine) for engine in engines.engines()]
    ctx = {"cards": cards, "address": request.path}
    if getattr(request, "htmx", False):
        return fragment(request, "jobs/_engine_cards.html", ctx, _engine_facts(cards))
    return page(request, "jobs/engine_list.html", ctx)


def _engine_facts(cards: list[engines.EngineCard]) -> list[tuple[object, ...]]:
    return [
        (
            card.engine.pk,
            card.engine.state,
            card.engine.version,
            card.engine.fault,
            card.engine.paused,
            card.model,
            card.doing,
            card.log,
            card.gauges,
            card.gpus,
            card.mends,
        )
        for card in cards
    ]
