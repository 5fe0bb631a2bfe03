# SPDX-License-Identifier: Apache-2.0
"""The first page: what the team's batches, engines and files are doing now."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from batchsite.accounts import permissions
from batchsite.accounts.models import User
from jobs import extensions
from jobs.access import person
from jobs.web import engines, overview, throughput
from jobs.web.conditional import fragment, page
from jobs.web.views import engine_facts, first_steps


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Counts, what runs, what waits, throughput, failures, engines, workers, storage.

    Polls ask for one of two parts: `part` live is what moves, steady the rest. `span`
    is how far the throughput looks back: 1h, 24h or 7d.
    """
    user = person(request)
    span = request.GET.get("span", "24h")
    span = span if span in throughput.SPANS else "24h"
    teams = overview.teams_of(user)
    if getattr(request, "htmx", False):
        if request.GET.get("part") == "steady":
            ctx = _steady(user, teams, span) | {"oob": True}
            return fragment(request, "site/_home_steady.html", ctx, _shown(ctx))
        board = overview.board(teams)
        tiles = extensions.tiles(user)
        ctx = {"board": board, "more_tiles": tiles, "oob": True}
        return fragment(request, "site/_home_live.html", ctx, (board.shown, tiles))
    ctx = {"board": overview.board(teams), **_steady(user, teams, span)}
    ctx["more_tiles"] = extensions.tiles(user)
    ctx["may_write"] = permissions.teams_where(user, "batches:write").exists()
    if not overview.has_batches(teams):
        ctx |= {"is_new": True, **first_steps(request)}
    return page(request, "site/home.html", ctx)


def _steady(user: User, teams: list[int], span: str) -> dict[str, object]:
    """What changes seldom, or need not be looked at every five seconds."""
    return {
        "chart": throughput.chart(teams, span),
        "spans": list(throughput.SPANS),
        "failures": overview.failures(teams),
        "cards": engines.cards(),
        "workers": overview.workers(),
        "storage": overview.storage(teams),
        "panels": extensions.panels(user),
    }


def _shown(ctx: dict[str, object]) -> object:
    cards = ctx["cards"]
    assert isinstance(cards, list)
    return {
        name: value for name, value in ctx.items() if name != "cards"
    }, engine_facts(cards)
