# SPDX-License-Identifier: Apache-2.0
"""Runs in the browser: the list, a new one, and models beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address
from benchmarks import running
from benchmarks.comparing import (
    Comparison,
    Contestant,
    Figure,
    compare_all,
    contestants,
)
from benchmarks.models import Cell, Run, SuiteItem
from benchmarks.scoring import OVERALL
from jobs.access import found_or_404, person, team_of
from jobs.answer_text import messages_of, parsed, read
from jobs.models import Result
from jobs.refusals import NotNow, Refused
from jobs.result_texts import whole_text
from jobs.web.addresses import whole
from jobs.web.conditional import page
from jobs.web.refusing import refuse
from jobs.web.worddiff import differences

from .access import WRITE, get_run
from .forms import RunForm

RUNS = 50
WORSE = 20
# The rest is compared when the page asks again.
COMPARED_SECONDS = 1.5


@require_safe
@login_required
def run_list(request: HttpRequest) -> HttpResponse:
    """The runs of the person's teams, newest first; `before` pages."""
    user = person(request)
    mine = Run.objects.visible_to(user)
    before = mine.find(request.GET.get("before", ""))
    rows = mine.select_related("team", "version__suite", "created_by")
    rows = rows.annotate(
        cell_count=Count("cells"),
        ended_count=Count("cells", filter=~Q(cells__state__in=running.OPEN)),
    )
    if before is not None:
        rows = rows.filter(pk__lt=before.pk)
    found = list(rows.order_by("-pk")[: RUNS + 1])
    ctx = {
        "rows": found[:RUNS],
        "older": found[RUNS - 1].public_id if len(found) > RUNS else "",
        "is_first": before is None,
        "teams": list(permissions.teams_where(user, WRITE)),
    }
    return page(request, "benchmarks/run_list.html", ctx)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def run_new(request: HttpRequest) -> HttpResponse:
    """The form of a run; `suite` is the one that is chosen at first."""
    teams = list(permissions.teams_where(person(request), WRITE))
    team = team_of(request, teams, WRITE)
    data = request.POST if request.method == "POST" else None
    form = RunForm(
        data,
        team=team,
        auto_id="run_%s",
        initial={"suite": request.GET.get("suite", "")},
    )
    if form.is_bound and form.is_valid():
        given = form.cleaned_data
        try:
            run = running.ask(
                version=form.chosen().latest,
                models=given["models"],
                variants=form.variants_of(),
                repeats=given["repeats"],
                name=given["name"],
                user=person(request),
                address=client_address(request),
            )
        except Refused as refused:
            refuse(form, refused)
        else:
            messages.success(request, "The run is under way; real work goes first.")
            return redirect("run-detail", code=run.public_id)
    ctx = {"form": form, "team": team, "teams": teams}
    return page(request, "benchmarks/run_new.html", ctx)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the leaderboard."""

    one: Contestant
    figure: Figure | None
    compared: Comparison | None
    is_baseline: bool

    @property
    def latency(self) -> dict[str, float] | None:
        """Percentiles of the first repeat that is done, in milliseconds."""
        done = self.one.done
        return done[0].figures.get("latency_ms") if done else None

    @property
    def answered(self) -> tuple[int, int] | None:
        """Answered items and all items, over the repeats that are done."""
        done = [cell.figures for cell in self.one.done]
        if not done:
            return None
        return sum(f["answered"] for f in done), sum(f["items"] for f in done)

    @property
    def bar(self) -> dict[str, float] | None:
        """The mean and its interval in percent, for a drawing."""
        if self.figure is None:
            return None
        interval = self.figure.interval
        low = 100 * interval.low if interval else 100 * self.figure.mean
        high = 100 * interval.high if interval else 100 * self.figure.mean
        # The mark of the mean is a little wide itself.
        mean = min(100 * self.figure.mean, 99.2)
        return {"mean": mean, "low": low, "wide": high - low}


@require_safe
@login_required
def run_detail(request: HttpRequest, code: str) -> HttpResponse:
    """Models beside each other; `baseline` is a cell's position, `metric` a name."""
    run = get_run(request, code)
    found = contestants(run)
    place = whole(request.GET.get("baseline", ""), default=0)
    baseline = next(
        (one for one in found if place in {c.position for c in one.cells}), found[0]
    )
    figures = {one.key: one.metrics() for one in found}
    names = sorted(
        {name for by_name in figures.values() for name in by_name},
        key=lambda name: (name != OVERALL, name),
    )
    metric = request.GET.get("metric", "")
    metric = metric if metric in names else OVERALL
    others = [one for one in found if one is not baseline]
    compared, is_whole = compare_all(baseline, others, metric, seconds=COMPARED_SECONDS)
    rows = [
        Row(one, figures[one.key].get(metric), compared.get(one.key), one is baseline)
        for one in found
    ]
    rows.sort(key=lambda row: -(row.figure.mean if row.figure else -1))
    ctx = {
        "run": run,
        "rows": rows,
        "baseline": baseline,
        "metric": metric,
        "metrics": names,
        "columns": found,
        "tags": _tags(found, metric),
        "worse": [
            (row.one, row.compared, _places(run, row.compared))
            for row in rows
            if row.compared and row.compared.worse
        ],
        "troubles": [
            cell
            for one in found
            for cell in one.cells
            if cell.state == Cell.State.FAILED
        ],
        "comparing": not is_whole,
        "left": sum(cell.state in running.OPEN for one in found for cell in one.cells),
        "cells": sum(len(one.cells) for one in found),
        "measures": permissions.user_may(person(request), run.team, WRITE),
        "resumable": run.cells.filter(
            state__in=(Cell.State.CANCELLED, Cell.State.FAILED)
        ).exists(),
    }
    return page(request, "benchmarks/run_detail.html", ctx)


def _tags(found: Sequence[Contestant], metric: str) -> list[tuple[str, list[Any]]]:
    """Each tag with the contestants' figures, in their order."""
    by_one = [one.tags() for one in found]
    names = sorted({tag for tags in by_one for tag in tags})
    return [
        (
            tag,
            [
                (one, tags.get(tag, {}).get(metric))
                for one, tags in zip(found, by_one, strict=True)
            ],
        )
        for tag in names
    ]


def _places(run: Run, compared: Comparison) -> list[tuple[str, int]]:
    """The first of the items that are worse, with their places."""
    names = list(compared.worse[:WORSE])
    rows = run.version.items.filter(custom_id__in=names)
    places = dict(rows.values_list("custom_id", "index"))
    return [(name, places[name]) for name in names if name in places]


@require_POST
@login_required
def run_act(request: HttpRequest, code: str, act: str) -> HttpResponse:
    """Cancel or resume the run, or start the same once more."""
    run = get_run(request, code, right=WRITE)
    by: dict[str, Any] = {"user": person(request), "address": client_address(request)}
    try:
        match act:
            case "cancel":
                running.cancel(run=run, **by)
                messages.success(request, "The run is cancelled; what is done stays.")
            case "resume":
                running.resume(run=run, **by)
                messages.success(request, "What was cancelled or failed runs again.")
            case _:
                run = running.rerun(run=run, **by)
                messages.success(request, "The same runs once more.")
    except (NotNow, Refused) as refused:
        messages.error(request, str(refused))
    return redirect("run-detail", code=run.public_id)


@require_safe
@login_required
def run_item(request: HttpRequest, code: str, index: int) -> HttpResponse:
    """One item: what was asked and expected, and what each one answered."""
    run = get_run(request, code)
    item = found_or_404(run.version.items.filter(index=index).first())
    item.version = run.version
    answers = [_answer(one, item) for one in contestants(run)]
    first = next((one["text"] for one in answers if one["text"] is not None), None)
    for one in answers[1:]:
        if first is not None and one["text"] is not None and one["text"] != first:
            one["pieces"] = differences(first, one["text"])[1]
    ctx = {
        "run": run,
        "item": item,
        "asked": messages_of(parsed(item.body)),
        "answers": answers,
        "reference": item.reference
        if isinstance(item.reference, str)
        else item.reference_text,
        "before": index - 1 if index else None,
        "after": index + 1 if index + 1 < run.version.count else None,
    }
    return page(request, "benchmarks/run_item.html", ctx)


def _answer(one: Contestant, item: SuiteItem) -> dict[str, Any]:
    """The answer of the first repeat, and what the metrics say of it."""
    cell = one.cells[0]
    score = cell.scores.filter(index=item.index).first()
    result = Result.objects.filter(batch=cell.batch_id, index=item.index).first()
    text = error = None
    if result is not None and result.outcome == Result.Outcome.COMPLETED:
        text = read(result.body, result.finish_reason).text
    elif result is not None:
        error = whole_text(result, result.body)
    return {
        "one": one,
        "cell": cell,
        "values": score.values if score else {},
        "text": text,
        "error": error,
        "pieces": None,
    }
