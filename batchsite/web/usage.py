# SPDX-License-Identifier: Apache-2.0
"""What a team used in the last weeks; for staff, what all teams did."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_safe

from batchsite.accounts import permissions
from batchsite.accounts.models import Team
from jobs.access import person
from jobs.web import spreadsheets, usage
from jobs.web.conditional import page

from .forms import UsageFilterForm
from .team import get_team_for

GROUPS = ("week", "person", "model")
FIGURES = (
    *("answered", "failed", "input tokens", "cached input tokens", "output tokens"),
    "engine hours",
)


@require_safe
@login_required
def team_usage(request: HttpRequest, team: int) -> HttpResponse:
    """The team's last 12 weeks by `by`, narrowed by `person` and `model`."""
    found = get_team_for(request, team, "usage:read")
    return page(request, "site/team_usage.html", _ctx(request, found))


@require_GET
@login_required
def team_usage_export(request: HttpRequest, team: int) -> HttpResponseBase:
    """The lines of the same page, and their total, as CSV."""
    found = get_team_for(request, team, "usage:read")
    return _csv(_report(request, found), slugify(found.name) or str(found.pk))


@require_safe
@login_required
def site_usage(request: HttpRequest) -> HttpResponse:
    """The same of all teams, by team too, for staff."""
    permissions.require_site(person(request))
    return page(request, "site/usage.html", _ctx(request, None))


@require_GET
@login_required
def site_usage_export(request: HttpRequest) -> HttpResponseBase:
    """The lines of the page of all teams as CSV."""
    permissions.require_site(person(request))
    return _csv(_report(request, None), "all-teams")


def _report(request: HttpRequest, team: Team | None) -> usage.Report:
    groups = GROUPS if team else ("team", *GROUPS)
    by = request.GET.get("by", "")
    return usage.report(
        team,
        by=by if by in groups else groups[0],
        who=request.GET.get("person", ""),
        model=request.GET.get("model", ""),
    )


def _ctx(request: HttpRequest, team: Team | None) -> dict[str, object]:
    found = _report(request, team)
    return {
        "team": team,
        "report": found,
        "groups": GROUPS if team else ("team", *GROUPS),
        "form": UsageFilterForm(found, request.GET),
        "filtered": bool(request.GET.get("person") or request.GET.get("model")),
        "weeks": usage.WEEKS,
        "zone": str(timezone.get_current_timezone()),
    }


def _csv(report: usage.Report, whose: str) -> HttpResponseBase:
    zone = timezone.get_current_timezone()
    first = f"week from ({zone})" if report.by == "week" else report.by
    response = StreamingHttpResponse(
        spreadsheets.lines((first, *FIGURES), _cells(report)),
        content_type="text/csv; charset=utf-8",
    )
    name = f"usage-{whose}-by-{report.by}-{timezone.localdate()}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    return response


def _cells(report: usage.Report) -> Iterator[tuple[object, ...]]:
    for line in (*report.lines, usage.Line("total", report.total)):
        done = line.figures
        yield (
            line.week or line.name,
            *(done.answered, done.failed, done.input_tokens, done.cached_tokens),
            *(done.output_tokens, f"{done.engine_seconds / 3600:.4f}"),
        )
