# SPDX-License-Identifier: Apache-2.0
"""/v1/curation/marks: what people noted of answers in passing."""

from __future__ import annotations

from typing import Any

from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from curation import marking
from curation.models import Mark
from curation.models.marks import BEST
from jobs.api import bodies
from jobs.api import params as plain
from jobs.api.auth import caller, scope
from jobs.api.paging import page_limit
from jobs.api.parsers import body_of
from jobs.api.serializers import list_object, unix
from jobs.models import Result
from jobs.row_checks.parameters import bad


@api_view(["GET", "POST"])
@scope("curation")
def mark_collection(request: Request) -> Response:
    """GET lists the team's marks, newest first; POST marks one answer."""
    if request.method == "POST":
        return _mark(request)
    query = request.query_params
    starred = plain.one_of("starred", query.get("starred", "false"), ["true", "false"])
    least = query.get("least")
    rows = Mark.objects.visible_to_team(caller(request).team).chosen(
        starred=starred == "true",
        least=None
        if least is None
        else plain.integer("least", least, least=1, most=BEST),
        tag=query.get("tag", ""),
    )
    if "\0" in query.get("tag", ""):
        raise bad("tag", "the string has a NUL character.")
    if after := query.get("after"):
        rows = rows.filter(pk__lt=_key(after))
    limit = page_limit(request, default=20, most=100)
    shown = rows.select_related("result__request", "batch", "by").order_by("-pk")
    found = list(shown[: limit + 1])
    data = [_object(mark) for mark in found[:limit]]
    return Response(list_object(data, has_more=len(found) > limit))


def _key(after: str) -> int:
    digits = after.removeprefix("mark_")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
        raise bad("after", "no mark has this id.")
    return int(digits)


def _mark(request: Request) -> Response:
    body, key = body_of(request), caller(request)
    bodies.known_only(body, ("batch_id", "custom_id", *marking.MEMBERS))
    batch = bodies.batch(key.team, body.get("batch_id"), "batch_id")
    name = plain.text(body, "custom_id", longest=512)
    rows = Result.objects.filter(
        batch=batch, outcome="completed", request__custom_id=name
    )
    result = rows.select_related("batch", "request").first()
    if result is None:
        raise bad("custom_id", "the batch has no answer to it.")
    changes = {name: body[name] for name in marking.MEMBERS if name in body}
    made = marking.mark(result=result, user=key.user, changes=changes)
    data = None if made is None else _object(made)
    return Response({"object": "curation.marked", "mark": data})


def _object(mark: Mark) -> dict[str, Any]:
    """A mark with the answer that it is about."""
    return {
        "object": "curation.mark",
        "id": f"mark_{mark.pk}",
        "batch_id": mark.batch.public_id,
        "custom_id": mark.result.request.custom_id,
        "starred": mark.starred,
        "quality": mark.quality,
        "tags": mark.tags,
        "note": mark.note,
        "by": mark.by.email if mark.by else None,
        "created_at": unix(mark.created_at),
        "updated_at": unix(mark.updated_at),
    }
