# SPDX-License-Identifier: Apache-2.0
"""Calls about batches that OpenAI does not have: dry run, results so far, history, retry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial

from django.core.files.storage import default_storage
from django.db.models import TextField
from django.db.models.functions import Cast, Coalesce, Length
from django.http import FileResponse, HttpResponse, HttpResponseBase
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import dry_run, output, readings, retry, row_checks
from jobs.models import Batch, BatchEvent, Result
from jobs.refusals import Refused

from . import batch_params, params
from .auth import caller, client_address, scope
from .batches import batch_or_404, shown
from .errors import ApiError, quoted
from .paging import page_limit, unknown_cursor
from .parsers import body_of
from .repeats import REPLAYED, made_before, made_once
from .serializers import estimate_object, event_object, list_object, said_object

JSONL = "application/jsonl"
RESULTS_MOST = 1000
EVENTS_MOST = 1000
EVENTS_CHARACTERS = 1_000_000
LARGEST_SEQ = 2**31 - 1
_event_id = re.compile(r"evt_([0-9a-f]{24})")


@api_view(["POST"])
@scope("batches")
def batch_validate(request: Request) -> Response:
    """Check a file as a new batch would, and say what it would cost; makes nothing."""
    given = batch_params.create(body_of(request))
    batch_params.check_webhook(given)
    kept = ("input_file_id", "endpoint", "allow_mixed_models", "dedupe")
    found = dry_run.dry_run(
        team=caller(request).team,
        **{name: given[name] for name in kept if name in given},
    )
    return Response(
        {
            "object": "batch.validation",
            "valid": not found.error_count,
            "errors": {"object": "list", "data": found.errors},
            "error_count": found.error_count,
            "request_counts": {"total": found.total},
            "models": found.models,
            "duplicates": found.duplicates,
            "estimate": found.estimate and estimate_object(found.estimate),
        }
    )


@api_view(["GET"])
@scope("batches")
def batch_results(request: Request, batch_id: str) -> HttpResponseBase:
    """Answers so far as output lines, in the order in which they came."""
    batch = batch_or_404(request, batch_id)
    outcome = request.query_params.get("outcome", "")
    if outcome:
        params.one_of("outcome", outcome, Result.Outcome.values)
    wanted = wanted_check(request, batch)
    found = output.portion(
        batch.pk,
        only=partial(row_checks.filter_results, wanted=wanted) if wanted else None,
        known_to=row_checks.checked_seq(batch, wanted) if wanted else None,
        after=params.integer(
            "after", request.query_params.get("after", 0), least=0, most=LARGEST_SEQ
        ),
        limit=page_limit(request, default=RESULTS_MOST, most=RESULTS_MOST),
        outcome=outcome,
    )
    if found.results:
        note_reading("results", request, batch)
    return HttpResponse(
        b"".join(lines(batch, found.results)),
        content_type=JSONL,
        headers={
            "x-batchsite-last-seq": str(found.last),
            "x-batchsite-has-more": "true" if found.has_more else "false",
        },
    )


def wanted_check(request: Request, batch: Batch) -> row_checks.Wanted | None:
    """What `?check=NAME:OUTCOME` asks for; ApiError for what the batch does not have."""
    given = request.query_params.get("check", "")
    if not given:
        return None
    wanted = row_checks.wanted_by(batch, given)
    if wanted is None:
        raise ApiError(
            f"Invalid 'check': '{quoted(given)}' names no check of the batch and an"
            " outcome, such as 'my check:failed'.",
            param="check",
            code="invalid_value",
        )
    return wanted


def lines(batch: Batch, results: Sequence[Result]) -> Iterator[bytes]:
    """Output lines; of a batch with checks with what these said."""
    said = row_checks.outcomes_for(batch, results)
    for result in results:
        checks = said_object(said[result.pk]) if said else None
        yield output.output_line(result, checks and {"checks": checks})


@api_view(["GET"])
@scope("batches")
def batch_events(request: Request, batch_id: str) -> Response:
    """The batch's history, oldest first."""
    events = BatchEvent.objects.filter(batch=batch_or_404(request, batch_id))
    limit = page_limit(request, default=100, most=EVENTS_MOST)
    if after := request.query_params.get("after"):
        named = _event_id.fullmatch(after)
        newest = int(named[1], 16) if named else 0
        if not 0 < newest < 2**63 or not events.filter(pk=newest).exists():
            raise unknown_cursor("event", after)
        events = events.filter(pk__gt=newest)
    length = Length("message") + Coalesce(Length(Cast("data", TextField())), 0)
    sizes = list(events.order_by("pk").values_list("pk", length)[: limit + 1])
    fit = output.fitting((size for _, size in sizes[:limit]), most=EVENTS_CHARACTERS)
    rows = events.filter(pk__in=[pk for pk, _ in sizes[:fit]]).order_by("pk")
    objects = [event_object(event) for event in rows]
    return Response(list_object(objects, has_more=len(sizes) > fit))


@api_view(["GET"])
@scope("batches")
def batch_validation_errors(request: Request, batch_id: str) -> HttpResponseBase:
    """All bad lines of a failed batch as JSONL, also beyond those in its object."""
    batch = batch_or_404(request, batch_id)
    try:
        report = (
            default_storage.open(batch.error_report) if batch.error_report else None
        )
    except FileNotFoundError:
        report = None
    if report is None:
        raise ApiError(
            f"Batch {batch.public_id} has no validation report: only batches whose input"
            " file has errors do.",
            status=404,
        )
    note_reading("validation_errors", request, batch)
    return FileResponse(report, content_type=JSONL)


def note_reading(what: str, request: Request, batch: Batch) -> None:
    """Put into the audit log that the call's key begins to read of the batch."""
    key = caller(request)
    readings.note(
        what,
        batch=batch,
        reader=f"key-{key.pk}",
        user=key.user,
        address=client_address(request),
    )


@api_view(["POST"])
@scope("batches")
def batch_retry(request: Request, batch_id: str) -> Response:
    """A child batch of the failed or chosen rows of a batch that has ended."""
    parent = batch_or_404(request, batch_id)
    body = body_of(request)
    given = batch_params.retry(body)
    if batch := made_before(request, body):
        return shown(batch, REPLAYED)
    batch_params.check_webhook(given["over"])
    user = caller(request).user
    try:
        address = client_address(request)
        with retry.prepared(parent=parent, user=user, address=address, **given) as make:
            batch, headers = made_once(request, body, make)
    except Refused:
        # Perhaps because the same call, made in parallel, took the last place.
        if batch := made_before(request, body):
            return shown(batch, REPLAYED)
        raise
    return shown(batch, headers)
