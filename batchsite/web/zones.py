# SPDX-License-Identifier: Apache-2.0
"""Pages are written in the time zone of the person who asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import tzinfo
from typing import cast

from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.utils import timezone

from batchsite.accounts.models import User
from batchsite.accounts.zones import zone

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class TimeZoneMiddleware:
    """Stands behind AuthenticationMiddleware, where calls of the API do not come by."""

    def __init__(self, get_response: GetResponse) -> None:
        """`get_response` is the chain of all that follow."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """What follows, in the person's time zone; the thread's own comes back."""
        user = request.user
        if not isinstance(user, User) or not user.time_zone:
            return self._get_response(request)
        chosen = zone(user.time_zone)
        with timezone.override(chosen):
            response = self._get_response(request)
        # Lines of an export are made when they are sent. Files are just bytes, which
        # the server may send in its own way.
        if isinstance(response, StreamingHttpResponse) and not isinstance(
            response, FileResponse
        ):
            content = cast("Iterable[bytes]", response.streaming_content)
            response.streaming_content = _in_zone(content, chosen)
        return response


def _in_zone(parts: Iterable[bytes], chosen: tzinfo) -> Iterator[bytes]:
    """The same, each part made in that zone."""
    following = iter(parts)
    while True:
        with timezone.override(chosen):
            part = next(following, None)
        if part is None:
            return
        yield part
