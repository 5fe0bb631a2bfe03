# SPDX-License-Identifier: Apache-2.0
"""/v1/curation/queues: made, changed, fed, and how far people agree in them."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from curation import label_studio, quality, queues, rework, standing
from curation.models import ReviewItem, ReviewQueue
from jobs.api import batch_params, bodies
from jobs.api import params as plain
from jobs.api.auth import caller, scope
from jobs.api.batches import shown as shown_batch
from jobs.api.found import who
from jobs.api.paging import cursor_of, page, page_limit
from jobs.api.parsers import body_of
from jobs.api.serializers import list_object
from jobs.row_checks.parameters import bad

from . import params
from .found import queue_or_404
from .objects import agreement_object, queue_object

REWORK = ("item_ids", "model", "body", "system_prompt", "note")


@api_view(["GET", "POST"])
@scope("curation")
def queue_collection(request: Request) -> Response:
    """GET lists the team's queues, newest first; POST makes one."""
    if request.method == "POST":
        return _create(request)
    rows = ReviewQueue.objects.visible_to_team(caller(request).team)
    shown = rows.select_related("rubric_version__rubric").prefetch_related("assignees")
    found, has_more = page(
        shown,
        cursor=cursor_of(rows, request, "queue"),
        limit=page_limit(request, default=20, most=100),
    )
    counts = standing.of_all(found)
    data = [queue_object(queue, counts[queue.pk]) for queue in found]
    return Response(list_object(data, has_more=has_more))


def _create(request: Request) -> Response:
    body, team = body_of(request), caller(request).team
    known = ("name", "kind", "rubric_id", "assignees", *params.SETTINGS)
    bodies.known_only(body, known)
    queue = queues.create_queue(
        team=team,
        name=plain.text(body, "name"),
        kind=plain.text(body, "kind") if "kind" in body else "single",
        rubric_version=params.rubric(team, body).latest,
        assignees=params.people(team, body, "assignees") or (),
        **who(request),
        **params.settings(body),
    )
    return _shown(queue)


def _shown(queue: ReviewQueue) -> Response:
    return Response(queue_object(queue, standing.of_all([queue])[queue.pk]))


@api_view(["GET", "POST"])
@scope("curation")
def queue_detail(request: Request, queue_id: str) -> Response:
    """GET shows a queue; POST changes its name, state, settings or reviewers."""
    queue = queue_or_404(request, queue_id)
    if request.method == "POST":
        body = body_of(request)
        bodies.known_only(body, ("name", "state", "assignees", *params.SETTINGS))
        changes: dict[str, Any] = params.settings(body)
        if body.get("name") is not None:
            changes["name"] = plain.text(body, "name")
        if body.get("state") is not None:
            state = plain.text(body, "state")
            changes["state"] = plain.one_of("state", state, ReviewQueue.State.values)
        queues.change_queue(
            queue=queue,
            assignees=params.people(queue.team, body, "assignees"),
            **who(request),
            **changes,
        )
        queue = queue_or_404(request, queue_id)
    return _shown(queue)


@api_view(["GET"])
@scope("curation")
def label_studio_config(request: Request, queue_id: str) -> HttpResponse:
    """The labelling configuration of a Label Studio project that asks the same."""
    queue = queue_or_404(request, queue_id)
    return HttpResponse(label_studio.config(queue), content_type="application/xml")


@api_view(["GET", "POST"])
@scope("curation")
def label_studio_tasks(request: Request, queue_id: str) -> HttpResponseBase:
    """GET gives the items as Label Studio's tasks; POST takes judgements from there.

    `file_id` is an uploaded file with the JSON that Label Studio exports.
    """
    queue = queue_or_404(request, queue_id)
    if request.method == "GET":
        # Refused now, and not in the middle of the answer.
        label_studio.config(queue)
        return StreamingHttpResponse(
            label_studio.as_lines(queue, user=caller(request).user),
            content_type="application/json",
        )
    body = body_of(request)
    bodies.known_only(body, ("file_id",))
    content = params.json_file(caller(request).team, body, "file_id")
    taken = label_studio.take(queue, content, **who(request))
    standing.forget(queue)
    return Response(
        {"object": "curation.import", "taken": taken.taken, "left": taken.left[:100]}
    )


@api_view(["GET"])
@scope("curation")
def queue_agreement(request: Request, queue_id: str) -> Response:
    """How far people agree, how each one works, and which model wins."""
    queue = queue_or_404(request, queue_id)
    return Response(
        agreement_object(
            queue,
            quality.agreements(queue),
            quality.reviewers(queue),
            quality.preferences_of(queue),
        )
    )


@api_view(["POST"])
@scope("curation")
def queue_rework(request: Request, queue_id: str) -> Response:
    """Run items' requests once more, changed; their answers become new versions."""
    queue = queue_or_404(request, queue_id)
    body = body_of(request)
    bodies.known_only(body, REWORK)
    ids = bodies.texts(body, "item_ids", most=params.ITEMS_MOST)
    items = ReviewItem.objects.filter(queue=queue, public_id__in=ids)
    if items.count() < len(ids):
        raise bad("item_ids", "some are no items of this queue.")
    changes = batch_params.retry(
        {k: body[k] for k in ("model", "body", "system_prompt") if k in body}
    )
    del changes["over"]
    made = rework.rework(
        queue=queue,
        items=list(items.select_related("version")),
        note=bodies.loose_text(body, "note", params.NOTE_LENGTH),
        **who(request),
        **changes,
    )
    data = [shown_batch(batch).data for batch in made]
    return Response(list_object(data, has_more=False))
