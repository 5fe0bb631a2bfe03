# SPDX-License-Identifier: Apache-2.0
"""/v1/batches: create, list, look, change, cancel, delete."""

from __future__ import annotations

from django.db import transaction
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import changes, removal, row_checks, standing, submit
from jobs.models import Batch

from . import batch_params
from .auth import caller, client_address, scope
from .errors import unknown_batch
from .paging import cursor_of, page, page_limit
from .parsers import body_of
from .repeats import REPLAYED, made_before, made_once
from .serializers import batch_object, list_object

LIST_LIMIT = 20
LIST_MOST = 100


@api_view(["GET", "POST"])
@scope("batches")
def batch_collection(request: Request) -> Response:
    """GET lists the team's batches, POST makes one."""
    if request.method == "POST":
        return create_batch(request)
    return list_batches(request)


def list_batches(request: Request) -> Response:
    """A page of batches, newest first."""
    batches = Batch.objects.visible_to_team(caller(request).team)
    limit = page_limit(request, default=LIST_LIMIT, most=LIST_MOST)
    rows, has_more = page(
        batches.for_api(), cursor=cursor_of(batches, request, "batch"), limit=limit
    )
    places = standing.of(rows)
    tallies = row_checks.tallies(rows)
    objects = [
        batch_object(row, places.get(row.public_id), tallies.get(row.pk, []))
        for row in rows
    ]
    return Response(list_object(objects, has_more=has_more))


def create_batch(request: Request) -> Response:
    """Make a batch of an uploaded file; what is wrong in the file shows on the batch."""
    body = body_of(request)
    arguments = batch_params.create(body)
    if batch := made_before(request, body):
        return shown(batch, REPLAYED)
    batch_params.check_webhook(arguments)
    key = caller(request)
    batch, headers = made_once(
        request,
        body,
        lambda: submit.create_batch(team=key.team, user=key.user, **arguments),
    )
    return shown(batch, headers)


@api_view(["GET", "POST", "DELETE"])
@scope("batches")
def batch_detail(request: Request, batch_id: str) -> Response:
    """GET shows the batch's object, POST changes it, DELETE deletes it."""
    batch = batch_or_404(request, batch_id)
    if request.method == "DELETE":
        return delete_batch(request, batch)
    if request.method == "POST":
        batch = update_batch(request, batch)
    return shown(batch)


def update_batch(request: Request, batch: Batch) -> Batch:
    """Change what the body names; 409 for what the batch's status does not allow."""
    given = batch_params.update(body_of(request))
    checks = given.pop("checks", [])
    who = {"user": caller(request).user, "address": client_address(request)}
    with transaction.atomic():
        if checks:
            param = "batchsite.checks"
            row_checks.add(batch=batch, checks=checks, param=param, **who)
        return changes.update_batch(batch=batch, **who, **given)


def delete_batch(request: Request, batch: Batch) -> Response:
    """Delete a batch that has ended; it can be restored for a month."""
    removal.delete_batch(
        batch=batch, user=caller(request).user, address=client_address(request)
    )
    return Response({"id": batch.public_id, "object": "batch", "deleted": True})


@api_view(["POST"])
@scope("batches")
def batch_restore(request: Request, batch_id: str) -> Response:
    """Bring a deleted batch back; one that is not deleted stays as it is."""
    batch = Batch.objects.filter(team=caller(request).team).find(batch_id)
    if batch is None:
        raise unknown_batch(batch_id)
    batch = removal.restore_batch(
        batch=batch, user=caller(request).user, address=client_address(request)
    )
    return shown(batch)


@api_view(["POST"])
@scope("batches")
def batch_cancel(request: Request, batch_id: str) -> Response:
    """Ask for the batch's end; idempotent while it is being cancelled or is."""
    batch = submit.cancel_batch(
        batch=batch_or_404(request, batch_id),
        user=caller(request).user,
        address=client_address(request),
    )
    return shown(batch)


def shown(batch: Batch, headers: dict[str, str] | None = None) -> Response:
    """The answer with the batch's object."""
    place = standing.of([batch]).get(batch.public_id)
    tallies = row_checks.tallies([batch]).get(batch.pk, [])
    found = batch_object(batch, place, tallies, with_params=True)
    return Response(found, headers=headers)


def batch_or_404(request: Request, batch_id: str) -> Batch:
    """The team's batch with that id."""
    # Without for_api(): what clients poll has no result files yet, and joins cost time.
    batch = Batch.objects.find_in_team(caller(request).team, batch_id)
    if batch is None:
        raise unknown_batch(batch_id)
    return batch
