# SPDX-License-Identifier: Apache-2.0
"""The tabs of a batch beside its overview and results: errors, log, configuration, API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_safe

from jobs.access import get_batch
from jobs.failures import summaries
from jobs.models import Batch, BatchEvent, ServedModel
from jobs.result_search import ResultFilter, search
from jobs.templatetags.figures import printable

from . import detail, previews, snippets
from .addresses import whole
from .conditional import page

SAMPLES = 5
LINES = 100
# What in a history wants an eye; the rest is as it should be.
WARNINGS = {
    *("deadline_at_risk", "stalled", "refused", "stage_failed", "stage_waits"),
    *("failed", "expired"),
}
LEVELS = ("all", "warnings", "statuses")


@dataclass(frozen=True)
class Group:
    """Rows that failed in the same way, and some of them."""

    error_class: str
    rows: int
    share: str
    newest: Any
    samples: list[previews.Row]


@require_safe
@login_required
def batch_errors(request: HttpRequest, code: str) -> HttpResponse:
    """What failed, by the class of the error, most first, with five rows of each."""
    batch = get_batch(request, code)
    errors = (batch.errors or {}).get("data") or []
    ctx = detail.tab_context(request, batch, tab="errors") | {
        "groups": _groups(batch),
        "errors": errors[: detail.SHOWN_ERRORS],
        "more_errors": max(len(errors) - detail.SHOWN_ERRORS, 0),
    }
    return page(request, "jobs/batch_errors.html", ctx)


def _groups(batch: Batch) -> list[Group]:
    found = summaries(batch)
    answered = max(batch.completed + batch.failed, 1)
    groups = []
    for one in found[:20]:
        wanted = ResultFilter(error_class=one.error_class)
        rows = search(batch, wanted, limit=SAMPLES).rows
        share = f"{one.rows / answered:.1%}".replace("%", " %")
        samples = [previews.row(row) for row in rows]
        groups.append(Group(one.error_class, one.rows, share, one.newest_at, samples))
    return groups


@require_safe
@login_required
def batch_log(request: HttpRequest, code: str) -> HttpResponse:
    """The batch's history, newest first: `level` warnings or statuses, `before` an event."""
    batch = get_batch(request, code)
    level = request.GET.get("level", "all")
    level = level if level in LEVELS else "all"
    before = whole(request.GET.get("before"), default=0)
    events = _events(batch, level)
    if before > 0:
        events = events.filter(pk__lt=before)
    lines = list(events[: LINES + 1])
    ctx = detail.tab_context(request, batch, tab="log") | {
        "lines": lines[:LINES],
        "older": lines[LINES - 1].pk if len(lines) > LINES else None,
        "newer": before > 0,
        "level": level,
        "levels": LEVELS,
        "warnings": WARNINGS,
    }
    return page(request, "jobs/batch_log.html", ctx)


def _events(batch: Batch, level: str) -> Any:
    events = BatchEvent.objects.filter(batch=batch).order_by("-pk")
    if level == "warnings":
        return events.filter(kind__in=WARNINGS) | events.filter(new_status__in=WARNINGS)
    if level == "statuses":
        return events.exclude(new_status="")
    return events


@require_safe
@login_required
def batch_log_file(request: HttpRequest, code: str) -> HttpResponseBase:
    """The whole history as JSONL, oldest first."""
    batch = get_batch(request, code)

    def lines() -> Iterator[str]:
        for event in batch.events.order_by("pk").iterator():
            yield (
                json.dumps(
                    {
                        "at": event.created_at.isoformat(),
                        "kind": event.kind,
                        "old_status": event.old_status,
                        "new_status": event.new_status,
                        "message": event.message,
                        "data": event.data,
                    }
                )
                + "\n"
            )

    answer = StreamingHttpResponse(lines(), content_type="application/jsonl")
    name = f"{batch.public_id}_log.jsonl"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


@require_safe
@login_required
def batch_config(request: HttpRequest, code: str) -> HttpResponse:
    """With what exactly the batch ran: parameters, files, models, engines that answered."""
    batch = get_batch(request, code)
    names = [batch.model] if batch.model else []
    ctx = detail.tab_context(request, batch, tab="config") | {
        "models": ServedModel.objects.filter(name__in=names),
        "ran_with": _ran_with(batch),
        "derivation": json.dumps(batch.derivation, indent=2, ensure_ascii=False)
        if batch.derivation
        else "",
    }
    return page(request, "jobs/batch_config.html", ctx)


def _ran_with(batch: Batch) -> list[tuple[str, str]]:
    """Provenance of the first and the newest answer, where it differs both."""
    found: list[tuple[str, str]] = []
    results = batch.results.order_by("seq").defer("body")
    for word, result in (
        ("first answer", results.filter(seq__gte=1).first()),
        ("newest answer", results.filter(seq__lte=batch.result_seq).last()),
    ):
        if result is None or not isinstance(result.provenance, dict):
            continue
        said = "; ".join(
            f"{key.replace('_', ' ')} {value}"
            for key, value in result.provenance.items()
            if key != "copied_from" and value not in ("", None)
        )
        if said:
            found.append((word, printable(said)))
    return found


@require_safe
@login_required
def batch_api(request: HttpRequest, code: str) -> HttpResponse:
    """How programs watch, read and repeat exactly this batch: curl, Python, Node."""
    batch = get_batch(request, code)
    language = request.GET.get("in", "curl")
    if language not in snippets.LANGUAGES:
        raise Http404("Snippets are in curl, python and node.")
    base = request.build_absolute_uri("/v1")
    ctx = detail.tab_context(request, batch, tab="api") | {
        "language": language,
        "languages": snippets.LANGUAGES,
        "snippets": snippets.of(batch, base, language),
    }
    return page(request, "jobs/batch_api.html", ctx)
