# SPDX-License-Identifier: Apache-2.0
"""Polled fragments: 304 when nothing that they show has changed."""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import parse_etags, quote_etag


def page(request: HttpRequest, template: str, ctx: dict[str, Any]) -> HttpResponse:
    """A whole page. The same address answers polls with fragments, hence Vary."""
    response = render(request, template, ctx)
    patch_vary_headers(response, ["HX-Request"])
    patch_cache_control(response, private=True, no_cache=True)
    return response


def fragment(
    request: HttpRequest, template: str, ctx: dict[str, Any], shown: object
) -> HttpResponse:
    """A fragment with an ETag of `shown`, the facts that it displays; or 304.

    The browser asks with If-None-Match by itself, and live.js swaps nothing when the
    ETag is the one it already has.
    """
    # Times of day read otherwise once the person has chosen another time zone.
    zone = timezone.get_current_timezone_name()
    digest = hashlib.sha256(repr((template, zone, shown)).encode()).hexdigest()
    etag = quote_etag(digest[:32])
    response: HttpResponse
    if etag in parse_etags(request.headers.get("If-None-Match", "")):
        response = HttpResponseNotModified()
    else:
        response = render(request, template, ctx)
    response["ETag"] = etag
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    patch_cache_control(response, private=True, no_cache=True)
    return response
