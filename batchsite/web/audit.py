# SPDX-License-Identifier: Apache-2.0
"""The audit log of a team, for its owners and staff."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_safe

from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import AuditEvent, Team
from batchsite.accounts.people import record
from jobs.access import person
from jobs.web import spreadsheets
from jobs.web.conditional import page

from . import audit_lines
from .forms import AuditFilterForm
from .team import get_team_for

LINES = 50
COLUMNS = ("time (UTC)", "person", "what", "action", "target", "address", "facts")
# Ids fit a signed 64-bit column.
LARGEST = 2**63 - 1


@require_safe
@login_required
def audit_list(request: HttpRequest, team: int) -> HttpResponse:
    """One page of the log, newest first, narrowed by action, person and days.

    Staff also see what happened to the members' accounts.
    """
    found = get_team_for(request, team, "audit:read")
    personal = person(request).is_staff
    form = AuditFilterForm(request.GET, personal=personal)
    before, after = _id(request, "before"), _id(request, "after")
    rows: list[AuditEvent] = []
    if form.is_valid():
        rows = audit_lines.page(
            found,
            form.chosen,
            limit=LINES + 1,
            personal=personal,
            before=before,
            after=after,
        )
    more = len(rows) > LINES
    if more:
        # The one too many lies at the far end.
        rows = rows[1:] if after is not None else rows[:LINES]
    newer = more if after is not None else before is not None
    older = after is not None or more
    ctx = {
        "team": found,
        "rows": [(row, audit_lines.who(row), audit_lines.words(row)) for row in rows],
        "form": form,
        "filtered": bool(request.GET),
        "newer": rows[0].pk if rows and newer else None,
        "older": rows[-1].pk if rows and older else None,
        "members": found.memberships.values_list("user__email", flat=True)[:200],
    }
    return page(request, "site/team_audit.html", ctx)


def _id(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return min(int(text), LARGEST) if text.isascii() and text.isdigit() else None


@require_GET
@login_required
def audit_export(request: HttpRequest, team: int) -> HttpResponseBase:
    """All lines that the page's filters choose, as CSV; noted in the log itself."""
    found = get_team_for(request, team, "audit:read")
    personal = person(request).is_staff
    form = AuditFilterForm(request.GET, personal=personal)
    if not form.is_valid():
        return HttpResponse(
            "These filters are not understood.", status=400, content_type="text/plain"
        )
    record(
        action="audit.export",
        actor=person(request),
        team=found,
        address=client_address(request),
    )
    response = StreamingHttpResponse(
        spreadsheets.lines(COLUMNS, _cells(found, form.chosen, personal=personal)),
        content_type="text/csv; charset=utf-8",
    )
    name = f"audit-{slugify(found.name) or found.pk}-{timezone.localdate()}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    return response


def _cells(
    team: Team, chosen: audit_lines.Filter, *, personal: bool
) -> Iterator[tuple[object, ...]]:
    for event in audit_lines.every(team, chosen, personal=personal):
        yield (
            f"{event.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            audit_lines.who(event),
            audit_lines.words(event),
            event.action,
            event.target,
            event.address,
            json.dumps(event.data) if event.data else "",
        )
