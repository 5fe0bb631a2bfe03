# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Sending answers of a batch to a review queue, and rules that do so by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST

from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import User
from curation import feeding
from curation.models import Choosing, Feed, ReviewQueue
from curation.models.feeds import MOST_SAMPLED
from jobs.access import get_batch, person
from jobs.models import Batch
from jobs.refusals import Refused
from jobs.result_search import ResultFilter
from jobs.templatetags.figures import title_of
from jobs.web import detail, reading
from jobs.web.addresses import whole
from jobs.web.conditional import page
from jobs.web.refusing import refuse
from jobs.web.result_filters import ResultFilterForm

from .access import WRITE, get_queue
from .queue_forms import RuleForm, reviewers

ANSWERED = ResultFilter(outcome="completed")


class FeedForm(forms.Form):
    """Which queue, which of the rows, and what they are compared with."""

    queue = forms.ChoiceField(widget=forms.Select(attrs={"class": "field"}))
    how = forms.ChoiceField(
        label="Which of them",
        choices=Choosing.choices,
        widget=forms.Select(attrs={"class": "field"}),
    )
    most = forms.IntegerField(
        label="How many, of a sample",
        min_value=1,
        max_value=MOST_SAMPLED,
        initial=100,
        widget=forms.NumberInput(
            attrs={"class": "field", "min": 1, "max": MOST_SAMPLED}
        ),
    )
    beside = forms.MultipleChoiceField(
        label="Beside the answers of",
        required=False,
        help_text="For pairs, rankings, and to find where two models differ.",
        widget=forms.CheckboxSelectMultiple,
    )
    assigned_to = forms.ChoiceField(
        label="For",
        required=False,
        widget=forms.Select(attrs={"class": "field"}),
    )

    def __init__(self, *args: Any, batch: Batch, rows: Sequence[int], **more: Any):
        super().__init__(*args, **more)
        self.batch = batch
        self.people = reviewers(batch.team)
        self.queues = list(ReviewQueue.objects.visible_to_team(batch.team).live())
        self.others = reading.candidates(batch)
        self._offer(
            "queue", [(q.public_id, f"{q.name} ({q.kind})") for q in self.queues]
        )
        self._offer("beside", [(b.public_id, _named(b)) for b in self.others])
        who = [(str(user.pk), str(user)) for user in self.people]
        self._offer("assigned_to", [("", "whoever comes"), *who])
        if rows:
            del self.fields["how"], self.fields["most"]

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def arguments(self) -> dict[str, Any]:
        """What feeding.ask takes beside the rows."""
        given = self.cleaned_data
        return {
            "queue": next(q for q in self.queues if q.public_id == given["queue"]),
            "beside": [b for b in self.others if b.public_id in given["beside"]],
            "how": given.get("how", Choosing.ALL),
            "most": given.get("most") or 100,
            "assigned_to": self._person(given["assigned_to"]),
        }

    def _person(self, pk: str) -> User | None:
        return next((user for user in self.people if str(user.pk) == pk), None)


def _named(batch: Batch) -> str:
    return f"{title_of(batch)}, {batch.model or 'several models'}"


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def feed_new(request: HttpRequest, code: str) -> HttpResponse:
    """The form that sends results of a batch to a queue: ticked ones (`row`), or all that
    the address's filter leaves; without a filter all that were answered."""
    batch = get_batch(request, code, right=WRITE)
    rows, wanted, query = _chosen(batch, request.GET)
    form = FeedForm(
        request.POST or None,
        batch=batch,
        rows=rows,
        auto_id="feed_%s",
        initial={"queue": request.GET.get("queue", "")},
    )
    if request.method == "POST" and form.is_valid():
        feed = _ask(request, form, rows, wanted)
        if feed is not None:
            messages.success(request, "The answers are on their way into the queue.")
            return redirect("queue-detail", code=feed.queue.public_id)
    ctx = detail.tab_context(request, batch, tab="result") | {
        "feed_form": form,
        "rows_chosen": len(rows),
        "is_filtered": not wanted.is_empty,
        "query": query,
        "none_yet": not form.queues,
    }
    return page(request, "curation/feed_new.html", ctx)


def _chosen(batch: Batch, query: QueryDict) -> tuple[list[int], ResultFilter, str]:
    """Rows by their index, or a filter, and the query that names the filter."""
    named = query.getlist("row")[: feeding.MOST_TICKED + 1]
    rows = sorted({n for text in named if (n := whole(text, default=-1)) >= 0})
    form = ResultFilterForm(query, batch=batch)
    wanted = form.wanted()
    if wanted is None:
        raise Http404("This filter cannot be understood: open the results anew.")
    return rows, wanted, form.query()


def _ask(
    request: HttpRequest, form: FeedForm, rows: list[int], wanted: ResultFilter
) -> Feed | None:
    try:
        return feeding.ask(
            batch=form.batch,
            user=person(request),
            rows=rows or None,
            wanted=ANSWERED if wanted.is_empty else wanted,
            address=client_address(request),
            **form.arguments(),
        )
    except Refused as refused:
        refuse(form, refused)
        return None


@require_POST
@login_required
def rule_add(request: HttpRequest, code: str) -> HttpResponse:
    """Feed the queue from each batch of a kind that ends from now on."""
    queue = get_queue(request, code, right=WRITE)
    form = RuleForm(request.POST)
    try:
        if not form.is_valid():
            raise Refused("; ".join(f"{k}: {v[0]}" for k, v in form.errors.items()))
        feeding.add_rule(
            queue=queue,
            user=person(request),
            wanted=ANSWERED,
            address=client_address(request),
            **form.cleaned_data,
        )
    except Refused as refused:
        messages.error(request, f"No rule was made: {refused.message}")
    else:
        messages.success(request, "Batches that end from now on are fed by this rule.")
    return redirect("queue-settings", code=code)


@require_POST
@login_required
def rule_remove(request: HttpRequest, code: str, key: int) -> HttpResponse:
    """Feed nothing by this rule any more."""
    queue = get_queue(request, code, right=WRITE)
    rule = get_object_or_404(queue.feed_rules, pk=key)
    feeding.remove_rule(
        rule=rule, user=person(request), address=client_address(request)
    )
    messages.success(request, "The rule is gone; what it fed stays.")
    return redirect("queue-settings", code=code)
