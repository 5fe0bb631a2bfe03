# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Marks of answers: beside the answer where it is read, and all of a team's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from batchsite.accounts.models import User
from batchsite.accounts.permissions import user_may
from curation import marking
from curation.models import Mark
from curation.models.marks import BEST, MarkQuerySet
from jobs.access import get_batch, person
from jobs.answer_text import parsed, question_of, text_of
from jobs.extensions import Panel
from jobs.models import Result
from jobs.refusals import Refused
from jobs.templatetags.figures import printable
from jobs.web import spreadsheets
from jobs.web.conditional import page

from .access import WRITE

MARKS = 50
PREVIEW = 200
READ_AT_ONCE = 200


def result_panel(user: User, result: Result) -> Panel | None:
    """The mark beside an answer; for those who may not mark only where there is one."""
    found = Mark.objects.filter(result=result).select_related("by").first()
    may = user_may(user, result.batch.team, WRITE)
    if found is None and not may:
        return None
    return Panel("curation/_mark.html", context(result, found, may=may))


def context(
    result: Result, found: Mark | None, *, may: bool, problem: str = ""
) -> dict[str, Any]:
    """What the mark's part of the page shows."""
    return {
        "result": result,
        "mark": found,
        "may": may,
        "problem": problem,
        "qualities": range(1, BEST + 1),
        "tags": ", ".join(found.tags) if found else "",
    }


@require_POST
@login_required
def mark_change(request: HttpRequest, code: str, index: int) -> HttpResponse:
    """Note what the form says of an answer; `star` alone changes only the star."""
    batch = get_batch(request, code, right=WRITE)
    rows = Result.objects.filter(batch=batch, index=index, outcome="completed")
    result = rows.select_related("batch__team").first()
    if result is None:
        raise Http404("This request has no answer.")
    problem = ""
    try:
        marking.mark(result=result, user=person(request), changes=_changes(request))
    except Refused as refused:
        problem = refused.message
    if getattr(request, "htmx", False):
        found = Mark.objects.filter(result=result).select_related("by").first()
        ctx = {"data": context(result, found, may=True, problem=problem)}
        return render(request, "curation/_mark.html", ctx)
    if problem:
        messages.error(request, problem)
    return redirect("batch-result", code=code, index=index)


def _changes(request: HttpRequest) -> dict[str, Any]:
    data = request.POST
    if "star" in data:
        return {"starred": data["star"] == "1"}
    quality = data.get("quality", "")
    known = quality.isascii() and quality.isdecimal() and len(quality) < 4
    return {
        "quality": int(quality) if known else None,
        "tags": [tag for tag in data.get("tags", "").split(",") if tag.strip()],
        "note": data.get("note", "").replace("\r\n", "\n"),
    }


class MarkFilterForm(forms.Form):
    """Which marks; the members are those of the address."""

    starred = forms.BooleanField(required=False, label="with a star")
    least = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=BEST,
        label="quality from",
        widget=forms.NumberInput(attrs={"class": "field", "min": 1, "max": BEST}),
    )
    tag = forms.CharField(
        required=False,
        max_length=marking.TAG_LENGTH,
        widget=forms.TextInput(attrs={"class": "field", "autocomplete": "off"}),
    )


def _narrowed(request: HttpRequest, form: MarkFilterForm) -> MarkQuerySet:
    rows = Mark.objects.visible_to(person(request))
    if not form.is_valid():
        return rows.none()
    given = form.cleaned_data
    return rows.chosen(starred=given["starred"], least=given["least"], tag=given["tag"])


@require_safe
@login_required
def mark_list(request: HttpRequest) -> HttpResponse:
    """The marks of the person's teams, newest first; `before` pages."""
    form = MarkFilterForm(request.GET, auto_id="mark_%s")
    rows = _narrowed(request, form)
    before = request.GET.get("before", "")
    if before.isascii() and before.isdecimal() and len(before) < 19:
        rows = rows.filter(pk__lt=int(before))
    found = list(_for_list(rows)[: MARKS + 1])
    query = request.GET.copy()
    query.pop("before", None)
    ctx = {
        "form": form,
        "rows": [(mark, *_texts(mark)) for mark in found[:MARKS]],
        "query": query.urlencode(),
        "next": found[MARKS - 1].pk if len(found) > MARKS else 0,
        "is_first": not before,
        "is_filtered": any(form.data.get(name) for name in form.fields),
    }
    return page(request, "curation/mark_list.html", ctx)


def _for_list(rows: MarkQuerySet) -> MarkQuerySet:
    return rows.select_related("result__request", "batch__input_file", "by").order_by(
        "-pk"
    )


def _texts(mark: Mark) -> tuple[str, str]:
    """What was asked and answered, as they begin."""
    result = mark.result
    asked = question_of(parsed(result.request.body))
    said = text_of(parsed(result.body))
    return printable(asked[:PREVIEW]), printable(said[:PREVIEW])


@require_safe
@login_required
def mark_export(request: HttpRequest) -> HttpResponseBase:
    """All marks that the filter leaves, as CSV."""
    rows = _narrowed(request, MarkFilterForm(request.GET))
    head = (
        *("batch", "custom_id", "model", "starred", "quality", "tags", "note", "by"),
        *("request", "answer"),
    )
    response = StreamingHttpResponse(
        spreadsheets.lines(head, _cells(rows)), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = 'attachment; filename="marks.csv"'
    return response


def _cells(rows: MarkQuerySet) -> Iterator[list[object]]:
    after = 0
    while found := list(
        _for_list(rows).order_by("pk").filter(pk__gt=after)[:READ_AT_ONCE]
    ):
        for mark in found:
            request = mark.result.request
            yield [
                mark.batch.public_id,
                request.custom_id,
                request.model,
                mark.starred,
                mark.quality or "",
                ", ".join(mark.tags),
                mark.note,
                mark.by or "",
                printable(question_of(parsed(request.body))),
                printable(text_of(parsed(mark.result.body))),
            ]
        after = found[-1].pk
