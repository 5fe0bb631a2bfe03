# SPDX-License-Identifier: Apache-2.0
"""OpenAI's error envelope: the only shape in which anything under /v1/ fails."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.http.request import UnreadablePostError
from rest_framework import exceptions
from rest_framework.response import Response

from jobs import disks
from jobs.limits import LimitReached
from jobs.refusals import NotForThem, NotNow, Refused

# What the client sent is quoted in messages up to this many characters.
QUOTED = 200
OF_THE_BODY = {
    "content-type",
    "content-length",
    "content-encoding",
    "content-disposition",
    "content-language",
    "etag",
    "last-modified",
}
NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an"
    " Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
)
SERVER_ERROR = (
    "The server had an error while processing your request. Sorry about that! Please"
    " give the request id of this answer when you report it."
)


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry: bool = True,
        kind: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.retry = retry
        self.kind = kind
        self.retry_after = retry_after


def quoted(text: str) -> str:
    """The client's text, fit for a message: short, and without lone surrogates."""
    short = text if len(text) <= QUOTED else f"{text[:QUOTED]}…"
    return short.encode(errors="replace").decode()


def envelope(
    message: str,
    *,
    status: int,
    param: str | None = None,
    code: str | None = None,
    kind: str | None = None,
) -> dict[str, Any]:
    """The body of an error answer; its type is `kind`, or follows from the status."""
    kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def unknown_file(public_id: str) -> ApiError:
    """404 for a file that does not exist, was deleted or is another team's."""
    return ApiError(f"No such File object: {quoted(public_id)}", status=404, param="id")


def unknown_batch(public_id: str) -> ApiError:
    """404 for a batch that does not exist or is another team's."""
    return ApiError(f"No batch found with id '{quoted(public_id)}'", status=404)


def unknown_model(name: str) -> ApiError:
    """404 for a model that is not served."""
    return ApiError(
        f"The model '{quoted(name)}' does not exist or you do not have access to it.",
        status=404,
        param="model",
        code="model_not_found",
    )


def invalid_url(request: HttpRequest) -> str:
    """The message for a path that the API does not have."""
    return f"Invalid URL ({request.method} {quoted(request.path)})"


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: the answer to an exception; None lets a bug become Django's 500."""
    told = as_api_error(error, context["request"])
    if told is None:
        return None
    headers = {}
    if not told.retry:
        # OpenAI's clients repeat a 409 unless they are told not to.
        headers["x-should-retry"] = "false"
    if told.retry_after is not None:
        headers["Retry-After"] = str(told.retry_after)
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    body = envelope(
        told.message,
        status=told.status,
        param=told.param,
        code=told.code,
        kind=told.kind,
    )
    return Response(body, status=told.status, headers=headers)


def as_api_error(error: Exception, request: HttpRequest) -> ApiError | None:
    """What the client is told about an exception; None for a bug."""
    match error:
        case ApiError():
            return error
        case LimitReached():
            return ApiError(
                error.message,
                status=429,
                code=error.code,
                kind=error.kind,
                retry_after=error.retry_after,
            )
        case disks.NoRoom():
            # The clients' own tries, within seconds, would only fill the disk.
            return ApiError(error.message, status=503, code=error.code, retry=False)
        case _ if disks.is_full(error):
            return as_api_error(disks.NoRoom("a disk is full"), request)
        case Refused():
            return ApiError(error.message, param=error.param, code=error.code)
        case NotNow():
            return ApiError(str(error), status=409, retry=False)
        case NotForThem():
            code = "insufficient_permissions"
            return ApiError(str(error), status=403, code=code)
        case Http404():
            return ApiError(invalid_url(request), status=404)
        case PermissionDenied():
            return ApiError("You have no permission to do this.", status=403)
        case UnreadablePostError() | SuspiciousOperation():
            return ApiError(f"The request could not be read: {error}")
        case exceptions.APIException():
            return from_rest_framework(error, request)
    return None


def from_rest_framework(
    error: exceptions.APIException, request: HttpRequest
) -> ApiError:
    """OpenAI's words for what DRF itself refuses."""
    code = None
    message = str(error.detail)
    match error:
        case exceptions.NotAuthenticated():
            message, code = NO_KEY, "invalid_api_key"
        case exceptions.AuthenticationFailed():
            code = "invalid_api_key"
        case exceptions.PermissionDenied():
            code = "insufficient_permissions"
        case exceptions.MethodNotAllowed():
            message = f"Not allowed to {request.method} on {quoted(request.path)}."
            code = "method_not_supported"
        case exceptions.UnsupportedMediaType():
            kind = quoted(request.META.get("CONTENT_TYPE", ""))
            message = f"Unsupported content type: '{kind}'."
            code = "unsupported_content_type"
    return ApiError(message, status=error.status_code, code=code)


class OpenAIErrorMiddleware:
    """Gives every answer its x-request-id, and every failure under /v1/ the envelope.

    It is the outermost middleware, so that it also sees what Django and the other
    middlewares answer by themselves: pages for 400, 404 and 500, with DEBUG or not.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = f"req_{uuid.uuid4().hex}"
        # django-structlog takes the id of the log lines from here.
        request.META["HTTP_X_REQUEST_ID"] = request_id
        response = self.get_response(request)
        if response.status_code >= 400 and f"{request.path_info}/".startswith("/v1/"):
            response = self.enveloped(request, response)
        response["x-request-id"] = request_id
        return response

    def enveloped(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """The answer itself if it already is the envelope, else one in its place."""
        if response.get("Content-Type", "").startswith("application/json"):
            return response
        status = response.status_code
        if status == 404:
            message = invalid_url(request)
        elif status >= 500:
            message = SERVER_ERROR
        else:
            message = f"The request was refused: {response.reason_phrase}."
        told = JsonResponse(envelope(message, status=status), status=status)
        for name, value in response.items():
            # The security headers above all; but the body is another one.
            if name.lower() not in OF_THE_BODY:
                told.headers.setdefault(name, value)
        return told
