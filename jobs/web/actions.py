# SPDX-License-Identifier: Apache-2.0
"""What people do with a batch in the browser: cancel, pause, resume, retry."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from batchsite.accounts.addresses import client_address
from jobs import changes, idempotency, lifecycle, retry, submit
from jobs.access import get_batch, person
from jobs.models import Batch
from jobs.refusals import Refused
from jobs.templatetags.figures import title_of

from . import detail
from .conditional import page
from .retry_form import RetryForm
from .selection import Unclear, selection


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


@require_POST
@login_required
def batch_pause(request: HttpRequest, code: str) -> HttpResponse:
    """Start no more requests of the batch; a second time changes nothing."""
    return _set_paused(request, code, paused=True)


@require_POST
@login_required
def batch_resume(request: HttpRequest, code: str) -> HttpResponse:
    """Go on with a paused batch; a second time changes nothing."""
    return _set_paused(request, code, paused=False)


def _set_paused(request: HttpRequest, code: str, *, paused: bool) -> HttpResponse:
    batch = get_batch(request, code, right="batches:write")
    try:
        changes.update_batch(
            batch=batch,
            user=person(request),
            address=client_address(request),
            paused=paused,
        )
    except changes.TooLate:
        batch.refresh_from_db(fields=["status"])
        word = batch.status.replace("_", " ")
        verb = "pause" if paused else "resume"
        messages.warning(request, f"Nothing to {verb}: the batch is {word}.")
    else:
        words = (
            "The batch is paused: what is in flight ends, nothing new starts, and its"
            " deadline goes on."
            if paused
            else "The batch goes on."
        )
        messages.info(request, words)
    return redirect("batch-detail", code=batch.public_id)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def batch_retry(request: HttpRequest, code: str) -> HttpResponse:
    """Make a batch of failed or chosen rows and go there; a form sent twice makes one.

    A GET shows the form for the rows that the address names, as selection.py reads it.
    """
    batch = get_batch(request, code, right="batches:write")
    if not retry.may_retry(batch):
        messages.warning(
            request, "Nothing to run again: the batch has not ended, or ran nothing."
        )
        return redirect("batch-detail", code=batch.public_id)
    if request.method != "POST":
        return _retry_page(request, batch)
    form = RetryForm(request.POST, batch=batch)
    child = _child(request, batch, form) if form.is_valid() else None
    if child is None:
        return _retry_page(request, batch, form)
    messages.success(
        request,
        f"{child.expected_requests:,} requests of “{title_of(batch)}” run once more, in this batch.",
    )
    return redirect("batch-detail", code=child.public_id)


def _retry_page(
    request: HttpRequest, batch: Batch, form: RetryForm | None = None
) -> HttpResponse:
    """The form, and what it is about."""
    query = request.GET if form is None else QueryDict(form.data.get("rows", ""))
    try:
        chosen = selection(batch, query)
    except Unclear as unclear:
        messages.warning(request, str(unclear))
        return redirect("batch-results", code=batch.public_id)
    ctx = detail.tab_context(request, batch, tab="result") | {
        "retry_form": form or RetryForm(batch=batch, rows=chosen.query),
        "chosen": chosen,
    }
    return page(request, "jobs/batch_retry.html", ctx)


def _child(request: HttpRequest, batch: Batch, form: RetryForm) -> Batch | None:
    """The new batch, or the one that this form made before; None: the form says why."""
    key, fingerprint = form.identity()
    team = batch.team
    try:
        known = idempotency.known(team=team, key=key, fingerprint=fingerprint)
        if known is not None:
            return known
        with retry.prepared(
            parent=batch,
            user=person(request),
            address=client_address(request),
            **form.arguments(),
        ) as make:
            return idempotency.once(
                team=team, key=key, fingerprint=fingerprint, make=make
            )[0]
    except Refused as refused:
        field = refused.param if refused.param in form.fields else None
        form.add_error(field, refused.message)
    except Unclear as unclear:
        form.add_error(None, str(unclear))
    except idempotency.KeyReused:
        form.add_error(
            None, "This form was sent already, with other values. Open the page anew."
        )
    return None
