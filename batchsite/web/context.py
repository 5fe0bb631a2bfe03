# SPDX-License-Identifier: Apache-2.0
"""What every page's frame shows; read only by templates that show it."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from django.http import HttpRequest

from batchsite.accounts.models import User
from jobs.web import engines, pages, webhooks

THEMES = ("auto", "light", "dark")


def theme(request: HttpRequest) -> str:
    """The theme the person chose, kept in a cookie; auto follows the system."""
    chosen = request.COOKIES.get("theme", "")
    return chosen if chosen in THEMES else "auto"


def alarms(user: User) -> list[engines.Alarm]:
    """What keeps every batch from moving, and webhooks of the user's teams that failed."""
    return [*engines.alarms(), *webhooks.alarms(user)]


def site(request: HttpRequest) -> dict[str, Any]:
    """The theme; and, queried when a template first asks, alarms and active batches."""
    ctx: dict[str, Any] = {"theme": theme(request), "themes": THEMES}
    user = getattr(request, "user", None)
    if isinstance(user, User):
        ctx["alarms"] = cache(partial(alarms, user))
        ctx["active_batches"] = cache(partial(pages.active_count, user))
    return ctx
