# SPDX-License-Identifier: Apache-2.0
"""What a team may use, what it uses now, and what is free."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from batchsite.accounts.models import Team
from jobs import checks, limits, uploads
from jobs.submit import WINDOW_SECONDS
from jobs.templatetags.figures import duration, size, thousands
from jobs.web.conditional import page

from .team import get_team

# Models whose queued tokens are listed; each has the same limit.
MODELS = 20


@dataclass(frozen=True)
class Queue:
    """A limit on what waits or runs: how much of it is used."""

    name: str
    usage: limits.Usage
    note: str = ""

    @property
    def part(self) -> float:
        """The used part in hundredths, for the bar."""
        if not self.usage.limit:
            return 100.0 if self.usage.limit == 0 else 0.0
        return min(self.usage.used * 100 / self.usage.limit, 100.0)


@require_safe
@login_required
def limit_list(request: HttpRequest, team: int) -> HttpResponse:
    """The team's limits, own ones marked; staff change them in the admin."""
    found = get_team(request, team)
    ctx = {"team": found, "queues": _queues(found), "sizes": _sizes(found)}
    return page(request, "site/team_limits.html", ctx)


def _queues(team: Team) -> list[Queue]:
    ours, everybody = limits.requests_usage(team)
    rows = [
        Queue("Requests waiting or running", ours),
        *_tokens(team),
        Queue("Batches created in the last hour", limits.hour_usage(team)),
    ]
    if everybody.limit is not None:
        note = "counts for all teams together"
        rows.append(Queue("Requests of the whole site", everybody, note))
    return rows


def _tokens(team: Team) -> list[Queue]:
    """Queued input tokens of each model that has some, or one row that says none has."""
    queued = limits.queued().filter(team=team)
    models = queued.order_by("model").values_list("model", flat=True).distinct()
    name, note = "Input tokens waiting or running", "estimated; for each model apart"
    found = [
        Queue(name, usage, f"{model or 'batches of several models'}, estimated")
        for model in models[:MODELS]
        if (usage := limits.tokens_usage(team, model=model)).used
    ]
    empty = limits.Usage(0, limits.queued_tokens_limit(team))
    return found or [Queue(name, empty, note)]


def _sizes(team: Team) -> list[tuple[str, str, str]]:
    """(what, how much in words, whose limit it is)."""
    per_minute = team.requests_per_minute
    if per_minute is None:
        per_minute = settings.BATCHSITE_REQUESTS_PER_MINUTE or None
    return [
        (
            "Size of a batch file",
            size(uploads.size_limit(team)),
            _whose(team.max_file_bytes),
        ),
        (
            "Requests in one batch",
            thousands(checks.requests_limit(team)),
            _whose(team.max_requests),
        ),
        (
            "API calls a minute, each key",
            "no limit" if per_minute is None else thousands(per_minute),
            _whose(team.requests_per_minute),
        ),
        (
            "Time that a batch has",
            duration(timedelta(seconds=team.batch_seconds or WINDOW_SECONDS)),
            _whose(team.batch_seconds, otherwise="OpenAI’s 24 hours"),  # noqa: RUF001 - meant
        ),
    ]


def _whose(own: int | None, *, otherwise: str = "the site’s setting") -> str:  # noqa: RUF001 - meant
    return otherwise if own is None else "set for this team"
