# SPDX-License-Identifier: Apache-2.0
"""/v1/curation/rubrics: what reviewers are asked."""

from __future__ import annotations

from django.db import transaction
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from curation import rubrics
from curation.models import Rubric
from curation.questions import read
from jobs.api import bodies
from jobs.api import params as plain
from jobs.api.auth import caller, scope
from jobs.api.found import who
from jobs.api.paging import cursor_of, page, page_limit
from jobs.api.parsers import body_of
from jobs.api.serializers import list_object
from jobs.row_checks.parameters import bad

from .found import rubric_or_404
from .objects import rubric_object

FIELDS = ("name", "questions")


@api_view(["GET", "POST"])
@scope("curation")
def rubric_collection(request: Request) -> Response:
    """GET lists the team's rubrics, newest first; POST makes one."""
    team = caller(request).team
    if request.method == "POST":
        body = body_of(request)
        bodies.known_only(body, FIELDS)
        rubric = rubrics.create_rubric(
            team=team,
            name=plain.text(body, "name"),
            questions=read("questions", body.get("questions")),
            **who(request),
        )
        return Response(rubric_object(rubric, rubric.latest))
    rows = Rubric.objects.visible_to_team(team)
    limit = page_limit(request, default=20, most=100)
    found, has_more = page(rows, cursor=cursor_of(rows, request, "rubric"), limit=limit)
    data = [rubric_object(rubric, rubric.latest) for rubric in found]
    return Response(list_object(data, has_more=has_more))


@api_view(["GET", "POST"])
@scope("curation")
def rubric_detail(request: Request, rubric_id: str) -> Response:
    """GET shows a rubric, in its newest version or in `version`; POST changes it.

    Questions that a queue asks stay: then there is another version.
    """
    rubric = rubric_or_404(request, rubric_id)
    if request.method == "POST":
        _change(request, rubric)
        return Response(rubric_object(rubric, rubric.latest))
    number = request.query_params.get("version")
    if number is None:
        return Response(rubric_object(rubric, rubric.latest))
    wanted = plain.integer("version", number, least=1, most=2**31 - 1)
    version = rubric.versions.filter(number=wanted).first()
    if version is None:
        raise bad("version", "the rubric has no such version.")
    return Response(rubric_object(rubric, version))


def _change(request: Request, rubric: Rubric) -> None:
    body, by = body_of(request), who(request)
    bodies.known_only(body, (*FIELDS, "archived"))
    with transaction.atomic():
        if body.get("name") is not None:
            name = plain.text(body, "name")
            rubrics.rename_rubric(rubric=rubric, name=name, **by)
        if body.get("questions") is not None:
            questions = read("questions", body["questions"])
            rubrics.change_rubric(rubric=rubric, questions=questions, **by)
        if body.get("archived") is not None:
            archived = bodies.truth(body, "archived")
            rubrics.archive_rubric(rubric=rubric, archived=archived, **by)
