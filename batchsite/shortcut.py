# SPDX-License-Identifier: Apache-2.0
"""The API's way past what only browsers need: sessions, CSRF tokens, messages, htmx.

A sixth of what a poll cost was middlewares that do nothing for a call with an API key.
Django knows no middlewares for a part of the paths, so one before them goes on with
what comes after them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

GetResponse = Callable[[HttpRequest], HttpResponseBase]
# A page about the API, for browsers.
PAGES = {"/v1/docs"}
# A handler makes its middlewares in one thread, the last one first.
_made = threading.local()


class ApiShortcut:
    """Stands before the middlewares that calls of the API leave out."""

    def __init__(self, get_response: GetResponse) -> None:
        """`get_response` is the chain of all that follow."""
        self._with_pages = get_response
        self._without: GetResponse = _made.after

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """What follows, for calls of the API what follows ApiShortcutEnd."""
        path = request.path_info
        if path.startswith("/v1/") and path not in PAGES:
            return self._without(request)
        return self._with_pages(request)


class ApiShortcutEnd:
    """Stands behind them."""

    def __init__(self, get_response: GetResponse) -> None:
        self._after = _made.after = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """What follows."""
        return self._after(request)
