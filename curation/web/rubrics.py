# SPDX-License-Identifier: Apache-2.0
"""Rubrics in the browser: the list, the editor with its preview, import and export."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import Team
from curation import ready, rubrics
from curation.models import Rubric, RubricVersion
from curation.questions import Question, read
from jobs.access import person, team_of
from jobs.refusals import Refused
from jobs.web.conditional import page

from . import answers, rubric_form
from .access import WRITE, get_rubric
from .rubric_form import Card

IMPORT_BYTES = 1_000_000


@require_safe
@login_required
def rubric_list(request: HttpRequest) -> HttpResponse:
    """The rubrics of the person's teams, and those that ship."""
    user = person(request)
    archived = request.GET.get("state") == "archived"
    mine = Rubric.objects.visible_to(user).select_related("team")
    rows = mine.filter(archived_at__isnull=not archived)
    ctx = {
        "rows": list(rows.with_counts().order_by("team__name", "name")),
        "ready": ready.READY,
        "state": "archived" if archived else "",
        "teams": list(permissions.teams_where(user, WRITE)),
    }
    return page(request, "curation/rubric_list.html", ctx)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def rubric_new(request: HttpRequest) -> HttpResponse:
    """The editor of a rubric that is not there yet; `from` is the slug of a ready one."""
    teams = list(permissions.teams_where(person(request), WRITE))
    team = team_of(request, teams, WRITE)
    name, questions = _begin(request.GET.get("from", ""))
    if request.method == "POST":
        return _posted(request, team, None)
    cards = rubric_form.cards_of(questions) or [Card(0, {"type": "label"})]
    return _editor(request, team, None, name=name, cards=cards)


def _begin(slug: str) -> tuple[str, list[Question]]:
    if not slug:
        return "", []
    found = next((one for one in ready.READY if one.slug == slug), None)
    if found is None:
        raise Http404("No ready rubric is called so.")
    return found.name, read("questions", list(found.questions))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def rubric_detail(request: HttpRequest, code: str) -> HttpResponse:
    """The rubric's newest version in the editor; `version` shows another one."""
    if request.method == "POST":
        rubric = get_rubric(request, code, right=WRITE)
        return _posted(request, rubric.team, rubric)
    rubric = get_rubric(request, code)
    version = _version(rubric, request.GET.get("version", ""))
    cards = rubric_form.cards_of(version.questions)
    return _editor(
        request, rubric.team, rubric, name=rubric.name, cards=cards, version=version
    )


def _version(rubric: Rubric, number: str) -> RubricVersion:
    if not number:
        return rubric.latest
    known = number.isascii() and number.isdecimal() and len(number) < 10
    found = rubric.versions.filter(number=int(number)).first() if known else None
    if found is None:
        raise Http404("The rubric has no such version.")
    return found


def _posted(request: HttpRequest, team: Team, rubric: Rubric | None) -> HttpResponse:
    """Save the form, or only move its cards."""
    cards = rubric_form.posted(request.POST)
    name = request.POST.get("name", "")
    if request.POST.get("act", "") != "save":
        return _editor(request, team, rubric, name=name, cards=cards)
    try:
        questions = rubric_form.questions_of(cards)
        saved = _save(request, team, rubric, name, questions)
    except Refused as refused:
        return _editor(request, team, rubric, name=name, cards=cards, refused=refused)
    messages.success(request, "The rubric is saved.")
    return redirect("rubric-detail", code=saved.public_id)


def _save(
    request: HttpRequest,
    team: Team,
    rubric: Rubric | None,
    name: str,
    questions: Sequence[Question],
) -> Rubric:
    by: dict[str, Any] = {"user": person(request), "address": client_address(request)}
    if rubric is None:
        return rubrics.create_rubric(team=team, name=name, questions=questions, **by)
    if name != rubric.name:
        rubrics.rename_rubric(rubric=rubric, name=name, **by)
    rubrics.change_rubric(rubric=rubric, questions=questions, **by)
    return rubric


def _editor(
    request: HttpRequest,
    team: Team,
    rubric: Rubric | None,
    *,
    name: str,
    cards: list[Card],
    version: RubricVersion | None = None,
    refused: Refused | None = None,
) -> HttpResponse:
    user = person(request)
    latest = rubric.latest if rubric else None
    ctx = {
        "team": team,
        "teams": list(permissions.teams_where(user, WRITE)) if rubric is None else [],
        "rubric": rubric,
        "name": name,
        "cards": cards,
        "types": rubric_form.TYPES,
        "refused": refused,
        "has_errors": any(card.error for card in cards),
        "version": version or latest,
        "is_old": version is not None and version != latest,
        "latest": latest,
        "versions": list(rubric.versions.with_counts()) if rubric else [],
        "curates": permissions.user_may(user, team, WRITE),
        # On copies: who is still typing is told of nothing.
        **_preview(deepcopy(cards)),
    }
    if getattr(request, "htmx", False):
        return render(request, "curation/_rubric_editor.html", ctx)
    return page(request, "curation/rubric_detail.html", ctx)


def _preview(cards: list[Card]) -> dict[str, Any]:
    """The questions as reviewers would see them, or what is in the way of that."""
    try:
        questions = rubric_form.questions_of(cards)
    except Refused as refused:
        return {"preview": [], "problem": refused.message}
    layout = [0, 1] if any(q.type == "pairwise" for q in questions) else [0, 1, 2]
    fields = answers.fields(questions, {}, original="", layout=layout)
    return {"preview": fields, "problem": ""}


@require_POST
@login_required
def rubric_preview(request: HttpRequest) -> HttpResponse:
    """What is typed in the editor, as reviewers would see it."""
    if not permissions.teams_where(person(request), WRITE).exists():
        raise PermissionDenied(permissions.refusal(WRITE))
    cards = rubric_form.posted(request.POST)
    return render(request, "curation/_rubric_preview.html", _preview(cards))


@require_POST
@login_required
def rubric_import(request: HttpRequest) -> HttpResponse:
    """A rubric from its exported JSON (`file`, or `text`)."""
    teams = list(permissions.teams_where(person(request), WRITE))
    team = team_of(request, teams, WRITE)
    try:
        name, questions = rubrics.read_export(_imported(request))
        rubric = rubrics.create_rubric(
            team=team,
            name=name,
            questions=questions,
            user=person(request),
            address=client_address(request),
        )
    except Refused as refused:
        messages.error(request, f"Not imported: {refused.message}")
        return redirect("rubric-list")
    messages.success(request, "The rubric is imported.")
    return redirect("rubric-detail", code=rubric.public_id)


def _imported(request: HttpRequest) -> Any:
    file = request.FILES.get("file")
    if file is None:
        raise Refused("Choose a file first.")
    if (file.size or 0) > IMPORT_BYTES:
        raise Refused("A rubric's file has a megabyte at most.")
    try:
        return json.loads(file.read())
    except (ValueError, RecursionError):
        raise Refused("The file is no JSON.") from None


@require_safe
@login_required
def rubric_export(request: HttpRequest, code: str) -> HttpResponse:
    """A version (`version`, else the newest) as JSON that can be imported."""
    rubric = get_rubric(request, code)
    version = _version(rubric, request.GET.get("version", ""))
    response = JsonResponse(
        rubrics.export_rubric(version),
        json_dumps_params={"indent": 2, "ensure_ascii": False},
    )
    named = slugify(rubric.name) or "rubric"
    response["Content-Disposition"] = (
        f'attachment; filename="{named}-v{version.number}.json"'
    )
    return response


@require_POST
@login_required
def rubric_archive(request: HttpRequest, code: str) -> HttpResponse:
    """Offer it for new queues no more, or again (`archived` 1 or 0)."""
    rubric = get_rubric(request, code, right=WRITE)
    archived = request.POST.get("archived") == "1"
    rubrics.archive_rubric(
        rubric=rubric,
        user=person(request),
        archived=archived,
        address=client_address(request),
    )
    words = "archived; its queues go on" if archived else "offered again"
    messages.success(request, f"The rubric is {words}.")
    return redirect("rubric-detail", code=code)
