# SPDX-License-Identifier: Apache-2.0
"""/v1/files: upload, list, look, fetch, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse, HttpResponseBase
from rest_framework.decorators import api_view, parser_classes
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import file_store
from jobs.models import BatchFile

from . import params
from .auth import caller, client_address, scope
from .errors import unknown_file
from .paging import cursor_of, page, page_limit
from .parsers import UploadParser, body_of
from .serializers import file_deleted, file_object, list_object

FIELDS = ("file", "purpose", "expires_after[anchor]", "expires_after[seconds]")
PURPOSES = [
    purpose for purpose in BatchFile.Purpose.values if purpose != "batch_output"
]
LIST_LIMIT = 10_000


@api_view(["GET", "POST"])
@scope("files")
@parser_classes([UploadParser])
def file_collection(request: Request) -> Response:
    """GET lists the team's files, POST uploads one."""
    if request.method == "POST":
        return upload_file(request)
    return list_files(request)


def list_files(request: Request) -> Response:
    """A page of files, of one purpose if asked, newest first unless `order=asc`."""
    limit = page_limit(request, default=LIST_LIMIT, most=LIST_LIMIT)
    order = params.one_of(
        "order", request.query_params.get("order", "desc"), ["asc", "desc"]
    )
    team = caller(request).team
    files = BatchFile.objects.visible_to_team(team)
    if purpose := request.query_params.get("purpose"):
        files = files.of_purpose(purpose)
    rows, has_more = page(
        files,
        cursor=cursor_of(BatchFile.objects.of_team(team), request, "file"),
        limit=limit,
        newest_first=order == "desc",
    )
    return Response(list_object([file_object(row) for row in rows], has_more=has_more))


def upload_file(request: Request) -> Response:
    """Store the multipart field `file` for `purpose`."""
    fields = body_of(request)
    params.known_only(fields, FIELDS)
    upload = one_upload(request.FILES.getlist("file"), fields, field="file")
    purpose = params.one_of("purpose", params.text(fields, "purpose"), PURPOSES)
    file = file_store.store_upload(
        team=caller(request).team,
        user=caller(request).user,
        upload=upload,
        purpose=purpose,
        expires_after=params.life(expires_after(fields), "expires_after"),
    )
    return Response(file_object(file))


def one_upload(
    uploads: list[UploadedFile[Any]], fields: Mapping[str, Any], *, field: str
) -> UploadedFile[Any]:
    """The one file of that field; ApiError when there is not exactly one."""
    if not uploads and field in fields:
        raise params.wrong_type(field, "an uploaded file", fields[field])
    if not uploads:
        raise params.missing(field)
    if len(uploads) > 1:
        raise params.wrong_type(field, "one uploaded file", uploads)
    return uploads[0]


def expires_after(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The object that the bracketed form keys spell, or None without any."""
    keys = ("anchor", "seconds")
    given = {key: fields.get(f"expires_after[{key}]") for key in keys}
    return {key: value for key, value in given.items() if value is not None} or None


@api_view(["GET", "DELETE"])
@scope("files")
def file_detail(request: Request, file_id: str) -> Response:
    """GET shows the file's object, DELETE removes the file."""
    file = file_or_404(request, file_id)
    if request.method == "GET":
        return Response(file_object(file))
    deleted = file_store.delete_file(
        file=file, user=caller(request).user, address=client_address(request)
    )
    if not deleted:
        raise unknown_file(file_id)
    return Response(file_deleted(file))


class Download(FileResponse):
    """Sends a file in pieces of 256 KB."""

    block_size = 1 << 18


@api_view(["GET"])
@scope("files")
def file_content(request: Request, file_id: str) -> HttpResponseBase:
    """The file's bytes, streamed."""
    file = file_or_404(request, file_id)
    try:
        content = file_store.open_content(
            file=file, user=caller(request).user, address=client_address(request)
        )
    except FileNotFoundError as error:
        raise unknown_file(file_id) from error
    return Download(
        content,
        as_attachment=True,
        filename=file.filename,
        content_type="application/octet-stream",
        headers={"Content-Length": str(file.bytes)},
    )


def file_or_404(request: Request, file_id: str) -> BatchFile:
    """The team's file with that id."""
    file = BatchFile.objects.visible_to_team(caller(request).team).find(file_id)
    if file is None:
        raise unknown_file(file_id)
    return file
