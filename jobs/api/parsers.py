# SPDX-License-Identifier: Apache-2.0
"""How bodies under /v1/ are read, and what they are answered with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from django.core.exceptions import RequestDataTooBig
from django.http.multipartparser import MultiPartParserError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser, DataAndFiles
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from jobs import disks
from jobs.uploads import CHUNKED, TOO_LARGE, receive, size_limit

from .auth import caller
from .errors import ApiError, quoted

# Far more than any body but an upload needs.
BODY_BYTES = 1_000_000
# OpenAI's "64 MB" of an upload's part; its client cuts files into pieces of that size.
PART_BYTES = 64 * 1024 * 1024


class AnyAccept(DefaultContentNegotiation):
    """Answers JSON whatever the Accept header says.

    OpenAI's clients ask for `application/binary` when they fetch a file.
    """

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """The only renderer there is."""
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)


def body_of(request: Request) -> Mapping[str, Any]:
    """The parsed body: a JSON object's members, or a form's fields.

    ApiError for a body whose end the server does not find, which Django takes for an
    empty one, and for a compressed one.
    """
    if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get(CHUNKED):
        raise ApiError("Send the body with a Content-Length header.", status=411)
    coding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if coding not in ("", "identity"):
        raise ApiError(
            f"The content encoding '{quoted(coding)}' is not supported: send the body"
            " uncompressed, without a Content-Encoding header.",
            status=415,
            code="unsupported_content_encoding",
        )
    body = request.data
    assert isinstance(body, Mapping)  # both parsers below make mappings
    return body


class JSONBody(BaseParser):
    """A JSON object of at most 1 MB, whose texts any database can hold."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The object; ApiError for anything else."""
        data = b""
        # To the end, where a server notices that a body was cut off.
        while piece := stream.read(BODY_BYTES + 1 - len(data)):
            data += piece
        if len(data) > BODY_BYTES:
            raise ApiError(
                f"The request body is larger than {BODY_BYTES:,} bytes.", status=413
            )
        try:
            body = json.loads(data.decode(), parse_constant=_reject_constant)
        except (ValueError, RecursionError) as error:
            raise ApiError(
                "We could not parse the JSON body of your request: it must be one JSON"
                " object in UTF-8."
            ) from error
        if not isinstance(body, dict):
            raise ApiError("The JSON body of your request must be an object.")
        if not is_storable(body):
            raise ApiError(
                "The JSON body of your request must not contain NUL characters or"
                " lone surrogates."
            )
        return body


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def is_storable(value: Any) -> bool:
    """Whether no string of a JSON value has a NUL character or a lone surrogate."""
    return all(map(_storable, _texts(value)))


def _texts(value: Any) -> Iterator[str]:
    """All strings in a JSON value, keys too."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            pending += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            pending += part


def _storable(text: str) -> bool:
    return "\0" not in text and not any(
        "\ud800" <= letter <= "\udfff" for letter in text
    )


class UploadParser(BaseParser):
    """A multipart body, its files kept up to the limit of the caller's team."""

    media_type = "multipart/form-data"

    def limit(self, request: Request) -> int:
        """Most bytes of files in one request."""
        return size_limit(caller(request).team)

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> DataAndFiles[Any, Any]:
        """Fields and files; ApiError when the body is malformed or was cut off.

        NoRoom when no disk has room for it.
        """
        assert parser_context is not None  # DRF always gives one
        request: Request = parser_context["request"]
        limit = self.limit(request)
        disks.check(min(int(request.META.get("CONTENT_LENGTH") or 0), limit))
        try:
            fields, files = receive(request._request, stream, limit=limit)
        except MultiPartParserError as error:
            raise ApiError(f"Malformed multipart body: {error}") from error
        except RequestDataTooBig as error:
            raise ApiError(TOO_LARGE) from error
        return DataAndFiles(fields, files)


class PartParser(UploadParser):
    """A multipart body with one part of an upload."""

    def limit(self, request: Request) -> int:
        """64 MB, however large a file the team may upload."""
        return PART_BYTES
