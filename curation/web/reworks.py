# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Running items' requests once more, changed: the form, and what comes of it."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from batchsite.accounts.addresses import client_address
from curation import rework
from curation.models import ReviewItem
from jobs.access import person
from jobs.api.batch_params import check_writable
from jobs.api.errors import ApiError
from jobs.ids import may_be_id
from jobs.models import ServedModel
from jobs.refusals import Refused
from jobs.web.conditional import page

from .access import WRITE, get_queue
from .queues import tab_context

MOST_CHOSEN = 500


class ReworkForm(forms.Form):
    """What is changed of the requests; what is left empty stays as it is."""

    model = forms.ChoiceField(
        required=False, widget=forms.Select(attrs={"class": "field"})
    )
    system_prompt = forms.CharField(
        required=False,
        strip=False,
        max_length=1_000_000,
        label="System prompt",
        help_text="Stands in for the one that the requests have, or comes first.",
        widget=forms.Textarea(attrs={"class": "field", "rows": 4}),
    )
    body = forms.CharField(
        required=False,
        max_length=1_000_000,
        label="Changes of the bodies, as JSON",
        help_text="Members to set in each request; null removes one.",
        widget=forms.Textarea(
            attrs={"class": "field mono", "rows": 3, "spellcheck": "false"}
        ),
    )
    note = forms.CharField(
        required=False,
        max_length=rework.NOTE_LENGTH,
        label="Why they run again",
        widget=forms.TextInput(attrs={"class": "field", "autocomplete": "off"}),
    )

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        names = ServedModel.objects.enabled().values_list("name", flat=True)
        field = self.fields["model"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "as before"), *((name, name) for name in names)]

    def clean_body(self) -> dict[str, Any] | None:
        """The object, or None when nothing was written."""
        text = self.cleaned_data["body"].strip()
        if not text:
            return None
        try:
            body = json.loads(text)
            if not isinstance(body, dict):
                raise ValueError
            check_writable("body", body)
        except (ValueError, RecursionError):
            raise ValidationError(
                'Write one JSON object, for example {"temperature": 0.2}.'
            ) from None
        except ApiError as error:
            raise ValidationError(str(error)) from error
        return body


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
