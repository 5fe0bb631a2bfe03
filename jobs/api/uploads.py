# SPDX-License-Identifier: Apache-2.0
"""/v1/uploads: a large file in parts of at most 64 MB."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rest_framework.decorators import api_view, parser_classes
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import parts
from jobs.models import Upload
from jobs.uploads import SpooledUpload

from . import params
from .auth import caller, scope
from .errors import ApiError, quoted
from .files import PURPOSES, one_upload
from .parsers import PartParser, body_of
from .serializers import part_object, upload_object

FIELDS = ("filename", "purpose", "bytes", "mime_type", "expires_after")
# OpenAI's 8 GB; the team's limit of a file is asked too.
MOST_BYTES = 8 * 1024**3
# Names are cut to 255 characters, as in multipart bodies.
LONGEST_NAME = 20_000


@api_view(["POST"])
@scope("files")
def upload_collection(request: Request) -> Response:
    """Announce a file."""
    body = body_of(request)
    params.known_only(body, FIELDS)
    purpose = params.one_of("purpose", params.text(body, "purpose"), PURPOSES)
    if "bytes" not in body:
        raise params.missing("bytes")
    upload = parts.create_upload(
        team=caller(request).team,
        user=caller(request).user,
        filename=params.text(body, "filename", longest=LONGEST_NAME),
        purpose=purpose,
        size=params.integer("bytes", body["bytes"], least=1, most=MOST_BYTES),
        mime_type=params.text(body, "mime_type"),
        expires_after=params.life(body.get("expires_after"), "expires_after"),
    )
    return Response(upload_object(upload))


@api_view(["POST"])
@scope("files")
@parser_classes([PartParser])
def upload_parts(request: Request, upload_id: str) -> Response:
    """Take the multipart field `data` as a part."""
    upload = upload_or_404(request, upload_id)
    fields = body_of(request)
    params.known_only(fields, ("data",))
    data = one_upload(request.FILES.getlist("data"), fields, field="data")
    assert isinstance(data, SpooledUpload)  # PartParser makes no others
    return Response(part_object(parts.add_part(upload=upload, data=data)))


@api_view(["POST"])
@scope("files")
def upload_complete(request: Request, upload_id: str) -> Response:
    """Make the file of the parts in `part_ids`."""
    upload = upload_or_404(request, upload_id)
    body = body_of(request)
    params.known_only(body, ("part_ids", "md5"))
    completed = parts.complete_upload(
        upload=upload, part_ids=part_ids(body), md5=md5(body.get("md5"))
    )
    return Response(upload_object(completed))


@api_view(["POST"])
@scope("files")
def upload_cancel(request: Request, upload_id: str) -> Response:
    """End the upload without a file; idempotent."""
    upload = upload_or_404(request, upload_id)
    return Response(upload_object(parts.cancel_upload(upload=upload)))


def part_ids(body: Mapping[str, Any]) -> list[str]:
    """The ids in their order."""
    if "part_ids" not in body:
        raise params.missing("part_ids")
    ids = body["part_ids"]
    if not isinstance(ids, list):
        raise params.wrong_type("part_ids", "an array", ids)
    if len(ids) > parts.MOST_PARTS:
        raise params.too_many("part_ids", len(ids), parts.MOST_PARTS)
    for number, public_id in enumerate(ids):
        if not isinstance(public_id, str):
            raise params.wrong_type(f"part_ids[{number}]", "a string", public_id)
    return ids


def md5(value: Any) -> str | None:
    """32 hex digits, or None."""
    if value is not None and not isinstance(value, str):
        raise params.wrong_type("md5", "a string", value)
    if value and not re.fullmatch(r"[0-9a-fA-F]{32}", value):
        raise ApiError(
            "Invalid 'md5': expected 32 hex digits.", param="md5", code="invalid_value"
        )
    return value or None


def upload_or_404(request: Request, upload_id: str) -> Upload:
    """The team's upload with that id."""
    found = Upload.objects.visible_to_team(caller(request).team).find(upload_id)
    if found is None:
        raise ApiError(
            f"No such Upload object: {quoted(upload_id)}", status=404, param="id"
        )
    return found
