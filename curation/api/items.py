# SPDX-License-Identifier: Apache-2.0
"""/v1/curation/items: what is judged, by whom, and what holds in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from batchsite.accounts.permissions import key_may
from curation import resolving, reviewing, standing, tending
from curation.models import (
    ItemVersion,
    Resolution,
    ReviewItem,
)
from curation.models import Response as Judgement
from curation.reviewing import Work
from jobs.api import bodies
from jobs.api import params as plain
from jobs.api.auth import caller, scope
from jobs.api.found import who
from jobs.api.paging import cursor_of, page_limit
from jobs.api.parsers import body_of
from jobs.api.serializers import list_object
from jobs.row_checks.parameters import bad

from . import params
from .found import item_or_404, queue_or_404
from .objects import item_object, response_object, work_object

ITEMS_MOST = 100
CHANGES = (
    *("priority", "assigned_to", "excluded", "flagged", "flag_reason", "reason"),
    "gold",
)
JUDGEMENT = ("version", "answers", "state", "seconds")


@api_view(["GET"])
@scope("curation")
def item_collection(request: Request, queue_id: str) -> Response:
    """The queue's items, oldest first; `state` and `flagged` narrow them."""
    queue = queue_or_404(request, queue_id)
    rows = ReviewItem.objects.filter(queue=queue)
    cursor = cursor_of(rows, request, "item")
    query = request.query_params
    if "state" in query:
        states = ReviewItem.State.values
        rows = rows.filter(state=plain.one_of("state", query["state"], states))
    if "flagged" in query:
        flagged = plain.one_of("flagged", query["flagged"], ["true", "false"])
        rows = rows.filter(flagged=flagged == "true")
    if "custom_id" in query:
        rows = rows.filter(pk__in=rows.by_custom_id(query["custom_id"]).values("pk"))
    if cursor is not None:
        rows = rows.behind(cursor)
    limit = page_limit(request, default=20, most=ITEMS_MOST)
    found = list(rows.for_api().order_by("pk")[: limit + 1])
    data = _objects(request, found[:limit])
    return Response(list_object(data, has_more=len(found) > limit))


def _objects(request: Request, items: Sequence[ReviewItem]) -> list[dict[str, Any]]:
    versions = [item.version_id for item in items]
    rows = Resolution.objects.filter(version__in=versions).select_related("by")
    held: dict[int | None, Resolution] = {row.version_id: row for row in rows}
    looks_after = key_may(caller(request), "curation:write")
    return [
        item_object(item, held.get(item.version_id), with_gold=looks_after)
        for item in items
    ]


def _shown(request: Request, item_id: str) -> Response:
    (found,) = _objects(request, [item_or_404(request, item_id)])
    return Response(found)


@api_view(["GET", "POST"])
@scope("curation")
def item_detail(request: Request, item_id: str) -> Response:
    """GET shows an item; POST changes its priority, person, flag, or leaves it out."""
    item = item_or_404(request, item_id)
    if request.method == "POST":
        _change(request, item)
    return _shown(request, item_id)


def _change(request: Request, item: ReviewItem) -> None:
    body, by = body_of(request), who(request)
    bodies.known_only(body, CHANGES)
    about: dict[str, Any] = {"queue": item.queue, "items": [item], **by}
    if body.get("priority") is not None:
        most = tending.PRIORITY
        priority = plain.integer("priority", body["priority"], least=-most, most=most)
        tending.prioritise(**about, priority=priority)
    if "assigned_to" in body:
        person = params.one_person(item.queue.team, body, "assigned_to")
        tending.assign(**about, to=person)
    if body.get("flagged") is not None:
        _flag(request, item, body)
    if body.get("gold") is not None:
        if bodies.truth(body, "gold"):
            tending.make_gold(**about)
        else:
            tending.no_gold(**about)
    if body.get("excluded") is not None:
        reason = bodies.loose_text(body, "reason", params.REASON_LENGTH)
        if bodies.truth(body, "excluded"):
            tending.exclude(**about, reason=reason)
        else:
            tending.include(**about)
    standing.forget(item.queue)


def _flag(request: Request, item: ReviewItem, body: bodies.Body) -> None:
    user = caller(request).user
    if not bodies.truth(body, "flagged"):
        reviewing.unflag(item=item, user=user)
        return
    reason = bodies.loose_text(body, "flag_reason", params.REASON_LENGTH)
    if not reason.strip():
        raise bad("flag_reason", "say what is wrong with the item.", "empty_string")
    assert item.version is not None
    reviewing.flag(version=item.version, user=user, reason=reason)


# --- judging


@api_view(["POST"])
@scope("curation")
def queue_next(request: Request, queue_id: str) -> Response:
    """The next item for the key's person, held from now on; null when nothing is left."""
    queue = queue_or_404(request, queue_id)
    work = reviewing.next_work(queue=queue, user=caller(request).user)
    data = None if work is None else _work(work)
    return Response({"object": "curation.next", "work": data})


@api_view(["POST"])
@scope("curation")
def queue_undo(request: Request, queue_id: str) -> Response:
    """Take back what the key's person did last in the queue; the item that it was."""
    queue = queue_or_404(request, queue_id)
    version = reviewing.undo(queue=queue, user=caller(request).user)
    standing.forget(queue)
    return _shown(request, version.item.public_id)


def _work(work: Work) -> dict[str, Any]:
    queue = work.item.queue
    layout = [candidate.place for candidate in work.shown]
    letters = {place: chr(ord("A") + n) for n, place in enumerate(layout)}
    work.response.version = work.version
    work.item.version = work.version
    return work_object(
        work.item,
        work.shown,
        work.response,
        shows_model=not queue.blind_model,
        letters=letters,
    )


@api_view(["GET", "POST"])
@scope("curation")
def item_responses(request: Request, item_id: str) -> Response:
    """GET lists the judgements of the newest version; POST gives the key's person's one.

    The item must have been given to that person before. 409 when it is not counted.
    """
    item = item_or_404(request, item_id)
    if request.method == "POST":
        return Response(response_object(_judge(request, item)))
    rows = Judgement.objects.submitted().filter(version=item.version_id)
    found = list(rows.select_related("user", "version").order_by("submitted_at"))
    user = caller(request).user
    if item.queue.blind_others and reviewing.may_still_judge(item, user):
        # Who is still to judge it sees nothing that would lead him.
        found = []
    data = [response_object(row) for row in found]
    return Response(list_object(data, has_more=False))


def _judge(request: Request, item: ReviewItem) -> Judgement:
    body, user = body_of(request), caller(request).user
    bodies.known_only(body, JUDGEMENT)
    version = _version(item, body)
    answers = bodies.obj(body, "answers")
    state = plain.text(body, "state") if "state" in body else "submitted"
    plain.one_of("state", state, Judgement.State.values)
    keep = reviewing.submit if state == "submitted" else reviewing.save_draft
    response = keep(
        version=version, user=user, answers=answers, seconds=params.seconds(body)
    )
    standing.forget(item.queue)
    return response


def _version(item: ReviewItem, body: bodies.Body) -> ItemVersion:
    """The version that the body names; the newest one where it names none."""
    assert item.version is not None
    if body.get("version") is None:
        return item.version
    number = plain.integer("version", body["version"], least=1, most=2**31 - 1)
    found = item.versions.filter(number=number).first()
    if found is None:
        raise bad("version", "the item has no such version.")
    found.item = item
    return found


@api_view(["POST"])
@scope("curation")
def item_skip(request: Request, item_id: str) -> Response:
    """Never give this version to the key's person again."""
    item = item_or_404(request, item_id)
    body = body_of(request)
    bodies.known_only(body, ("reason", "version"))
    reviewing.skip(
        version=_version(item, body),
        user=caller(request).user,
        reason=bodies.loose_text(body, "reason", params.REASON_LENGTH),
    )
    return _shown(request, item_id)


# --- what holds


@api_view(["POST", "DELETE"])
@scope("curation")
def item_resolution(request: Request, item_id: str) -> Response:
    """POST decides what holds: a judgement, or own answers; DELETE takes that back."""
    item = item_or_404(request, item_id)
    if request.method == "DELETE":
        tending.reopen(queue=item.queue, items=[item], **who(request))
        standing.forget(item.queue)
        return _shown(request, item_id)
    body = body_of(request)
    bodies.known_only(body, ("response_id", "answers", "note"))
    given = body.get("answers")
    resolving.decide(
        item=item,
        user=caller(request).user,
        chosen=_chosen(item, body),
        answers=None if given is None else bodies.obj(body, "answers"),
        note=bodies.loose_text(body, "note", params.NOTE_LENGTH),
    )
    standing.forget(item.queue)
    return _shown(request, item_id)


def _chosen(item: ReviewItem, body: bodies.Body) -> Judgement | None:
    if body.get("response_id") is None:
        return None
    digits = plain.text(body, "response_id").removeprefix("response_")
    rows = Judgement.objects.submitted().filter(version=item.version_id)
    known = digits.isascii() and digits.isdecimal() and len(digits) < 19
    found = (
        rows.filter(pk=int(digits)).select_related("user").first() if known else None
    )
    if found is None:
        raise bad("response_id", "the item has no such judgement.")
    return found
