# SPDX-License-Identifier: Apache-2.0
"""The teams of a person, and what every page of a team asks first."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_safe

from batchsite.accounts import permissions
from batchsite.accounts.models import Team
from jobs.access import person
from jobs.web.conditional import page

TEAMS = 50


def get_team(request: HttpRequest, pk: int) -> Team:
    """The team if the signed-in person is in it, or is staff; else Http404."""
    return get_object_or_404(Team.objects.visible_to(person(request)), pk=pk)


def get_team_for(request: HttpRequest, pk: int, right: str) -> Team:
    """The team, for those who hold `right` in it; 404 for strangers, 403 for others."""
    team = get_team(request, pk)
    permissions.require(person(request), team, right)
    return team


@require_safe
@login_required
def team_list(request: HttpRequest) -> HttpResponse:
    """The person's teams (all for staff); somebody with one goes straight there."""
    user = person(request)
    # A set of its own: counted over the join of visible_to, each team has one person.
    teams = Team.objects.filter(pk__in=Team.objects.visible_to(user).values("pk"))
    found = list(teams[:2])
    if len(found) == 1 and not user.is_staff:
        return redirect("team", team=found[0].pk)
    roles = dict(user.memberships.values_list("team_id", "role"))
    # A NUL is no text for PostgreSQL.
    q = request.GET.get("q", "").replace("\0", "").strip()
    chosen = teams.filter(name__icontains=q)
    rows = Paginator(
        chosen.annotate(people=Count("memberships")).order_by("name"), TEAMS
    ).get_page(request.GET.get("page"))
    for team in rows:
        team.my_role = roles.get(team.pk, "")  # type: ignore[attr-defined]  # for the template alone
    ctx = {"rows": rows, "q": q, "any": bool(found)}
    return page(request, "site/team_list.html", ctx)


@require_safe
@login_required
def team_home(request: HttpRequest, team: int) -> HttpResponse:
    """The people are a team's first page."""
    return redirect("team-people", team=get_team(request, team).pk)
