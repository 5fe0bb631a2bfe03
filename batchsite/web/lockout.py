# SPDX-License-Identifier: Apache-2.0
"""What somebody sees who tried to sign in too often (django-axes decides that)."""

from __future__ import annotations

import math
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone


def locked_out(
    request: HttpRequest, response: HttpResponse, credentials: dict[str, Any] | None
) -> HttpResponse:
    """A page in the place of the sign-in's answer: 429, and when to try again."""
    pause = settings.AXES_COOLOFF_TIME
    attempts = AxesProxyHandler.get_implementation().get_user_attempts(
        request, credentials
    )
    newest = [a.aggregate(at=Max("attempt_time"))["at"] for a in attempts]
    at = max((n for n in newest if n), default=timezone.now()) + pause
    seconds = max(math.ceil((at - timezone.now()).total_seconds()), 1)
    ctx = {
        "minutes": math.ceil(seconds / 60),
        "at": at,
        "tries": settings.AXES_FAILURE_LIMIT,
    }
    page = render(request, "site/locked.html", ctx, status=429)
    page["Retry-After"] = str(seconds)
    page["Cache-Control"] = "no-store"
    return page
