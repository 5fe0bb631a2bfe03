# SPDX-License-Identifier: Apache-2.0
"""/v1/batches: create, list, look, cancel."""

from __future__ import annotations

from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import submit
from jobs.jsonl import ENDPOINTS
from jobs.models import Batch

from . import params
from .auth import caller, client_address, scope
from .errors import ApiError, quoted, unknown_batch
from .paging import cursor_of, page, page_limit
from .parsers import body_of
from .serializers import batch_object, list_object

FIELDS = (
    "input_file_id",
    "endpoint",
    "completion_window",
    "metadata",
    "output_expires_after",
)
LIST_LIMIT = 20
LIST_MOST = 100
FILE_ID_LENGTH = 100


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
        batches.for_list(), cursor=cursor_of(batches, request, "batch"), limit=limit
    )
    return Response(list_object([batch_object(row) for row in rows], has_more=has_more))


def create_batch(request: Request) -> Response:
    """Make a batch of an uploaded file; what is wrong in the file shows on the batch."""
    body = body_of(request)
    params.known_only(body, FIELDS)
    batch = submit.create_batch(
        team=caller(request).team,
        user=caller(request).user,
        input_file_id=params.text(body, "input_file_id", longest=FILE_ID_LENGTH),
        endpoint=supported_endpoint(params.text(body, "endpoint")),
        completion_window=params.one_of(
            "completion_window", params.text(body, "completion_window"), ["24h"]
        ),
        metadata=params.metadata(body.get("metadata")),
        output_expires_after=params.life(
            body.get("output_expires_after"), "output_expires_after"
        ),
    )
    return Response(batch_object(batch))


def supported_endpoint(endpoint: str) -> str:
    """The endpoint, if batches may use it."""
    if endpoint not in ENDPOINTS:
        raise ApiError(
            f"Invalid endpoint: {quoted(endpoint)}."
            f" Supported values: {', '.join(ENDPOINTS)}.",
            param="endpoint",
            code="invalid_value",
        )
    return endpoint


@api_view(["GET"])
@scope("batches")
def batch_detail(request: Request, batch_id: str) -> Response:
    """The batch's object."""
    return Response(batch_object(batch_or_404(request, batch_id)))


@api_view(["POST"])
@scope("batches")
def batch_cancel(request: Request, batch_id: str) -> Response:
    """Ask for the batch's end; idempotent while it is being cancelled or is."""
    batch = submit.cancel_batch(
        batch=batch_or_404(request, batch_id),
        user=caller(request).user,
        address=client_address(request),
    )
    return Response(batch_object(batch))


def batch_or_404(request: Request, batch_id: str) -> Batch:
    """The team's batch with that id."""
    batches = Batch.objects.visible_to_team(caller(request).team)
    batch = batches.for_list().find(batch_id)
    if batch is None:
        raise unknown_batch(batch_id)
    return batch
