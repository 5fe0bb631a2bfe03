# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What people type into the pages of webhooks."""

from __future__ import annotations

from django import forms

from jobs.outbox import DATASET_READY, EVENT_TYPES, PROGRESS, REVIEW_COMPLETED

EVENT_WORDS = {
    "batch.completed": "every request has its answer and the files are written",
    "batch.failed": "the input file has errors; nothing was run",
    "batch.expired": "the time was over before all requests were answered",
    "batch.cancelled": "somebody cancelled it; what was answered is in the files",
    PROGRESS: "another tenth of the requests of a batch is done",
    REVIEW_COMPLETED: "each item of a review queue is judged and decided",
    DATASET_READY: "another version of a dataset is built",
}


class ChangeForm(forms.Form):
    """What may be changed of an endpoint."""

    description = forms.CharField(
        max_length=200,
        required=False,
        help_text="What listens there, for example “nightly evaluation”.",
        widget=forms.TextInput(attrs={"class": "field", "autocomplete": "off"}),
    )
    events = forms.MultipleChoiceField(
        label="Tell it of",
        choices=[(kind, kind) for kind in EVENT_TYPES],
        initial=list(EVENT_TYPES),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one event."},
    )


class EndpointForm(ChangeForm):
    """A new endpoint."""

    url = forms.CharField(
        label="URL",
        max_length=500,
        help_text="https://… of a server that takes POST requests. It cannot be changed"
        " later.",
        widget=forms.TextInput(
            attrs={
                "class": "field",
                "autocomplete": "off",
                "inputmode": "url",
                "spellcheck": "false",
                "autofocus": True,
                "placeholder": "https://hooks.example.com/batches",
            }
        ),
    )
    field_order = ["url", "description", "events"]
