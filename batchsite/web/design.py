# SPDX-License-Identifier: Apache-2.0
"""Every part that pages are made of, on one page, for whoever builds the next one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from batchsite.accounts import permissions
from jobs.access import person
from jobs.eta import Sample
from jobs.models import Batch, Engine
from jobs.web.conditional import page
from jobs.web.engines import Gauge
from jobs.web.progress import sparkline

COLOURS = (
    *("page", "card", "well", "hover", "line", "line-strong", "rest"),
    *("ink", "ink-2", "ink-3"),
    *("blue", "blue-fill", "blue-wash", "green", "green-fill", "green-wash"),
    *("red", "red-fill", "red-wash", "amber", "amber-fill", "amber-wash"),
    *(f"chart-{n}" for n in range(5)),
)
SPACES = ("1", "2", "3", "4", "5", "6", "8")


class SampleForm(forms.Form):
    """A field of each kind; two of them were filled in wrongly."""

    name = forms.CharField(
        help_text="What people call it.",
        widget=forms.TextInput(attrs={"class": "field"}),
    )
    model = forms.ChoiceField(
        choices=[("", "any"), ("tiny", "tiny")],
        required=False,
        widget=forms.Select(attrs={"class": "field"}),
    )
    body = forms.CharField(
        label="JSON",
        widget=forms.Textarea(attrs={"class": "field mono", "rows": 3}),
    )


@dataclass(frozen=True)
class State:
    """An engine's state for its chip; `alive`: its processes are."""

    engine: Engine
    alive: bool


@require_safe
@login_required
def design(request: HttpRequest) -> HttpResponse:
    """Colours, type and parts as they are now; for staff."""
    permissions.require_site(person(request))
    now = timezone.now()
    batches = [
        Batch(status=status, total=1000, completed=600, failed=20, created_at=now)
        for status in Batch.Status.values
    ]
    start = now - timedelta(minutes=15)
    taken = [
        Sample(start.timestamp() + 10 * n, 10.0, 5, 400 + (n * 37) % 190)
        for n in range(1, 90)
    ]
    ctx = {
        "colours": COLOURS,
        "spaces": SPACES,
        "batches": [*batches, Batch(status="in_progress", paused=True, total=10)],
        "states": [
            *(
                State(Engine(kind="managed", state=s), True)
                for s in Engine.State.values
            ),
            State(Engine(kind="managed", state="ready"), False),
        ],
        "form": SampleForm({"name": "", "body": ""}),
        "gauges": [
            Gauge("KV cache", "64 %", "64"),
            Gauge("memory", "22 of 24 GB", "94", True),
            Gauge("running", "236"),
        ],
        "line": sparkline(taken, start, now),
        "moment": now - timedelta(minutes=4),
    }
    return page(request, "site/design.html", ctx)
