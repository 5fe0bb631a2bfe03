# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""How far a queue's people agree, and how far a judge model agrees with them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db.models import Count, Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from batchsite.accounts.addresses import client_address
from curation import judge_scores, judging, quality
from curation.models import JudgeRun, Response, ReviewQueue
from jobs.access import person
from jobs.models import ServedModel
from jobs.refusals import Refused
from jobs.web.conditional import page

from .access import WRITE, get_queue
from .queues import tab_context

RUNS = 10
KEPT_FOR = 60


class JudgeForm(forms.Form):
    """Which model judges, how many items, and what it is told besides the rubric."""

    model = forms.ChoiceField(
        label="Model", widget=forms.Select(attrs={"class": "field"})
    )
    most = forms.IntegerField(
        label="Items at most",
        initial=judging.USUAL_ITEMS,
        min_value=1,
        max_value=judging.MOST_ITEMS,
        help_text="The newest ones that people have decided.",
        widget=forms.NumberInput(attrs={"class": "field"}),
    )
    words = forms.CharField(
        required=False,
        max_length=judging.WORDS_LENGTH,
        label="What the judge should know",
        help_text="Comes before the rubric's questions and their help.",
        widget=forms.Textarea(attrs={"class": "field", "rows": 4}),
    )

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        names = ServedModel.objects.enabled().values_list("name", flat=True)
        field = self.fields["model"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(name, name) for name in names]
        if not field.choices:
            field.help_text = "No model is enabled: whoever runs the site adds one."


@require_safe
@login_required
def queue_quality(request: HttpRequest, code: str) -> HttpResponse:
    """How far people agree, how each one works, which model wins, and a judge model.

    `judge` chooses one of the judge's runs; else the newest one is shown.
    """
    queue = get_queue(request, code)
    ctx = tab_context(request, queue, "quality") | _quality(queue)
    ctx |= _judges(queue, request.GET.get("judge", ""))
    return page(request, "curation/queue_quality.html", ctx)


def _quality(queue: ReviewQueue) -> dict[str, Any]:
    """Computed once for each judgement that there is, and for a minute at most."""
    said = Response.objects.submitted().filter(version__item__queue=queue)
    count, newest = said.aggregate(n=Count("pk"), at=Max("submitted_at")).values()
    at = newest.timestamp() if newest else 0
    key = f"curation:quality:{queue.pk}:{count}:{at}"
    found: dict[str, Any] | None = cache.get(key)
    if found is None:
        found = {
            "agreements": quality.agreements(queue),
            "reviewers": quality.reviewers(queue),
            "preferences": quality.preferences_of(queue),
        }
        cache.set(key, found, KEPT_FOR)
    return found


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def judge_new(request: HttpRequest, code: str) -> HttpResponse:
    """The form of a judge's run; sent, it starts the batch."""
    queue = get_queue(request, code, right=WRITE)
    form = JudgeForm(
        request.POST if request.method == "POST" else None, auto_id="judge_%s"
    )
    if form.is_bound and form.is_valid():
        try:
            run = judging.ask(
                queue=queue,
                user=person(request),
                address=client_address(request),
                **form.cleaned_data,
            )
        except Refused as refused:
            form.add_error(None, refused.message)
        else:
            messages.success(
                request,
                f"{run.model} judges {run.items:,} items in a batch of its own.",
            )
            return redirect("queue-quality", code=code)
    ctx = tab_context(request, queue, "quality") | {"form": form}
    return page(request, "curation/judge_new.html", ctx)


def _judges(queue: ReviewQueue, chosen: str) -> dict[str, Any]:
    """The queue's newest runs, and the figures of the chosen one, else of the newest."""
    found = JudgeRun.objects.filter(queue=queue).select_related("batch", "queue")
    runs = list(found[:RUNS])
    run = next(
        (one for one in runs if str(one.pk) == chosen), runs[0] if runs else None
    )
    return {
        "judge_runs": runs,
        "judge": run,
        "judged": judge_scores.standing(run) if run else None,
        "judge_questions": bool(judging.questions_for(queue)),
    }
