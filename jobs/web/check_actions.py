# SPDX-License-Identifier: Apache-2.0
"""The card of a batch's checks while these run, and adding one."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from batchsite.accounts.addresses import client_address
from jobs import row_checks
from jobs.access import get_batch, person
from jobs.models import Batch
from jobs.refusals import Refused

from . import checks, detail
from .checks_form import CheckForm
from .conditional import fragment


@require_safe
@login_required
def batch_checks(request: HttpRequest, code: str) -> HttpResponse:
    """The card alone, for its polls; opened as an address, the page that has it."""
    batch = get_batch(request, code)
    if not getattr(request, "htmx", False):
        return _back_to(batch)
    ctx = checks.card(batch) | {"batch": batch}
    shown = ([line.shown for line in ctx["checks"]], batch.result_seq, ctx["checking"])
    return fragment(request, "jobs/_batch_checks.html", ctx, shown)


@require_POST
@login_required
def batch_checks_add(request: HttpRequest, code: str) -> HttpResponse:
    """Add a check to the batch; the same one a second time changes nothing."""
    batch = get_batch(request, code, right="batches:write")
    form = CheckForm(request.POST)
    if form.is_valid() and _add(request, batch, form):
        words = "The answers of this batch are put to the check, from the first one on."
        messages.success(request, words)
        return _back_to(batch)
    return detail.whole_page(request, batch, check_form=form)


def _add(request: HttpRequest, batch: Batch, form: CheckForm) -> bool:
    """False: the form says why not."""
    try:
        row_checks.add(
            batch=batch,
            checks=[form.definition],
            user=person(request),
            address=client_address(request),
        )
    except Refused as refused:
        form.refuse(refused)
        return False
    return True


def _back_to(batch: Batch) -> HttpResponse:
    return redirect(f"{reverse('batch-detail', args=[batch.public_id])}#checks")
