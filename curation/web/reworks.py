# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Running items' requests once more, changed: the form, and what comes of it."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from batchsite.accounts.addresses import client_address
from curation import rework
from curation.models import ReviewItem
from jobs.access import person
from jobs.ids import may_be_id
from jobs.refusals import Refused
from jobs.web.conditional import page
from jobs.web.retry_form import ChangesForm

from .access import WRITE, get_queue
from .queues import tab_context

MOST_CHOSEN = 500


class ReworkForm(ChangesForm):
    """What is changed of the requests, and why."""

    note = forms.CharField(
        required=False,
        max_length=rework.NOTE_LENGTH,
        label="Why they run again",
        widget=forms.TextInput(attrs={"class": "field", "autocomplete": "off"}),
    )


@require_POST
@login_required
def queue_rework(request: HttpRequest, code: str) -> HttpResponse:
    """The form for the chosen items (`item`); with `go` it makes their child batches."""
    queue = get_queue(request, code, right=WRITE)
    chosen = [c for c in request.POST.getlist("item")[:MOST_CHOSEN] if may_be_id(c)]
    rows = ReviewItem.objects.filter(queue=queue, public_id__in=chosen)
    items = list(rows.select_related("version").order_by("pk"))
    if not items:
        messages.info(request, "Choose items first.")
        return redirect("queue-items", code=code)
    form = ReworkForm(
        request.POST if "go" in request.POST else None, auto_id="rework_%s"
    )
    if form.is_bound and form.is_valid():
        given = form.cleaned_data
        try:
            made = rework.rework(
                queue=queue,
                items=items,
                user=person(request),
                model=given["model"] or None,
                body=given["body"],
                system_prompt=given["system_prompt"] or None,
                note=given["note"],
                address=client_address(request),
            )
        except Refused as refused:
            form.add_error(None, refused.message)
        else:
            messages.success(
                request, "The requests run again; the answers become new versions."
            )
            if len(made) == 1:
                return redirect("batch-detail", code=made[0].public_id)
            return redirect("queue-detail", code=code)
    ctx = tab_context(request, queue, "items") | {"form": form, "items": items}
    return page(request, "curation/queue_rework.html", ctx)
