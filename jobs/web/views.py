# SPDX-License-Identifier: Apache-2.0
"""The list of batches, engines and downloads in the browser."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.text import get_valid_filename
from django.views.decorators.http import require_safe

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address
from jobs import file_store, readings
from jobs.access import get_batch, get_file, person
from jobs.models import SavedView, ServedModel

from . import engine_day, engines, new_start, pages
from .batch_filters import BAR, BatchFilterForm
from .conditional import fragment, page
from .history import history


@require_safe
@login_required
def batch_list(request: HttpRequest) -> HttpResponse:
    """The batches of the person's teams, newest first; polls get the rows alone."""
    user = person(request)
    form = BatchFilterForm(request.GET, user=user)
    found = pages.batches(user, request.GET, form)
    ctx: dict[str, Any] = {
        "page": found,
        "form": form,
        "status": request.GET.get("status", ""),
        "filtered": bool(request.GET),
        "active": any(not batch.is_terminal for batch in found.batches),
        "address": request.get_full_path(),
        "may_write": permissions.teams_where(user, "batches:write").exists(),
    }
    if getattr(request, "htmx", False):
        shown = (found.shown, found.newer, found.older)
        return fragment(request, "jobs/_batch_rows.html", ctx, shown)
    ctx |= {
        "bar": [(name, form.query(status=name)) for name in BAR],
        "all": form.query(status=""),
        "views": SavedView.objects.filter(user=user),
        "query": form.query(),
        "why_not": "" if ctx["may_write"] else new_start.why_not(user),
    }
    if not found.batches and not request.GET:
        ctx |= first_steps(request)
    return page(request, "jobs/batch_list.html", ctx)


def first_steps(request: HttpRequest) -> dict[str, Any]:
    """What somebody without a batch needs to make the first one."""
    model = ServedModel.objects.enabled().values_list("name", flat=True).first()
    return {
        "base_url": request.build_absolute_uri("/v1"),
        "model": model or "your-model",
        "has_model": model is not None,
    }


@require_safe
@login_required
def batch_error_report(request: HttpRequest, code: str) -> FileResponse:
    """Every bad line of a failed batch's input file, as JSONL."""
    batch = get_batch(request, code)
    if not batch.error_report:
        raise Http404("This batch has no error report.")
    report = default_storage.open(batch.error_report)
    readings.note(
        "validation_errors",
        batch=batch,
        reader=f"user-{person(request).pk}",
        user=person(request),
        address=client_address(request),
    )
    return FileResponse(
        report,
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
    """Engines with their state in words, gauges and what is missing.

    `?history=NAME` shows that engine's last events too.
    """
    cards = engines.cards()
    opened = request.GET.get("history", "")
    told = [history(card.engine) for card in cards if card.engine.name == opened]
    lines = told[0] if told else []
    may_manage = permissions.may_run_site(person(request))
    ctx = {
        "cards": cards,
        "address": request.get_full_path() if told else request.path,
        "opened": opened,
        "lines": lines,
        "may_manage": may_manage,
    }
    if getattr(request, "htmx", False):
        shown = (
            may_manage,
            engine_facts(cards),
            (opened, *(line.event.pk for line in lines)),
        )
        return fragment(request, "jobs/_engine_cards.html", ctx, shown)
    ctx["days"] = engine_day.days((card.engine for card in cards), timezone.now())
    ctx["ticks"] = engine_day.TICKS
    return page(request, "jobs/engine_list.html", ctx)


def engine_facts(cards: list[engines.EngineCard]) -> list[tuple[object, ...]]:
    """What cards display of their engines: a change here is a change there."""
    return [
        (
            card.engine.pk,
            card.engine.state,
            card.engine.version,
            card.engine.fault,
            card.engine.paused,
            card.engine.drained,
            card.model,
            card.doing,
            card.log,
            card.gauges,
            card.gpus,
            card.asked,
            card.closed,
            card.ended,
            card.mends,
            card.facts,
            card.records,
        )
        for card in cards
    ]
