# SPDX-License-Identifier: Apache-2.0
"""The results of a batch: a table that filters, one row read closely, the rows as a file."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs import extensions, result_search
from jobs.access import get_batch, person
from jobs.models import Batch, Result

from . import checks, detail, previews, reading, result_export
from .addresses import whole
from .conditional import page
from .result_filters import ResultFilterForm

ROWS = 50
VIEWS = ("rendered", "raw", "json", "request", "provenance")


@require_safe
@login_required
def result_list(request: HttpRequest, code: str) -> HttpResponse:
    """Results of the batch that match the address's filter, in input order.

    `after` is the index of the last row before; `with` the id of another batch of the
    same custom ids, whose answers stand beside. A search that takes long stops after a
    second and says how far it came.
    """
    batch = get_batch(request, code)
    form = ResultFilterForm(request.GET, batch=batch)
    other, problem = reading.other_batch(person(request), batch, request.GET)
    ctx = detail.tab_context(request, batch, tab="results") | {
        "form": form,
        "other": other,
        "other_problem": problem,
        "candidates": reading.candidates(batch),
        "acts": extensions.acts_with_results(person(request), batch),
    }
    ctx |= _found(request, batch, form, other)
    return page(request, "jobs/result_list.html", ctx)


def _found(
    request: HttpRequest, batch: Batch, form: ResultFilterForm, other: Batch | None
) -> dict[str, Any]:
    """The rows, and the words and addresses around them."""
    wanted = form.wanted()
    if wanted is None:
        return {"rows": [], "is_bad": True}
    after = whole(request.GET.get("after"), default=-1)
    found = result_search.search(batch, wanted, after=after, limit=ROWS)
    with_ = {"with": other.public_id} if other else {}
    marks = checks.marks(batch, found.rows)
    rows = [previews.row(one, marks.get(one.pk)) for one in found.rows]
    return {
        "rows": reading.beside(rows, other),
        "filtered": not wanted.is_empty,
        "count": result_search.count_words(batch, wanted, form.failed),
        "after": after,
        "reached": found.reached,
        "stopped": not found.ended and len(found.rows) < ROWS,
        "query": form.query(**with_),
        "first": form.query(**with_),
        "next": ""
        if found.ended
        else form.query(**with_, after=found.reached) + "#results",
    }


@require_safe
@login_required
def result_detail(request: HttpRequest, code: str, index: int) -> HttpResponse:
    """One result: rendered, raw, as JSON, its request or its provenance (`view`).

    `with`: the id of another batch, to compare with. Asked by htmx, the drawer alone.
    """
    batch = get_batch(request, code)
    found = Result.objects.filter(batch=batch, index=index)
    found = found.select_related("request", "engine", "batch__team")
    result = found.defer("body").first()
    if result is None:
        raise Http404("This request has no result yet.")
    other, problem = reading.other_batch(person(request), batch, request.GET)
    view = request.GET.get("view", "")
    views = (*VIEWS, "compare") if other else VIEWS
    view = view if view in views else ("compare" if other else "rendered")
    ctx = {
        "batch": batch,
        "result": result,
        "view": view,
        "views": views,
        "other": other,
        "other_problem": problem,
        **reading.read(result, view, other),
        "panels": extensions.panels_beside(person(request), result),
    }
    if getattr(request, "htmx", False):
        return render(request, "jobs/_result_drawer.html", ctx)
    ctx |= detail.tab_context(request, batch, tab="result")
    return page(request, "jobs/result_detail.html", ctx)


@require_safe
@login_required
def result_export_file(request: HttpRequest, code: str) -> HttpResponseBase:
    """All results that match the filter: `format` jsonl as in the output file, or csv."""
    batch = get_batch(request, code)
    wanted = ResultFilterForm(request.GET, batch=batch).wanted()
    if wanted is None:
        raise Http404("This filter cannot be understood.")
    form = request.GET.get("format", "jsonl")
    return result_export.response(request, batch, wanted, form=form)
