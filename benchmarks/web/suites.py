# SPDX-License-Identifier: Apache-2.0
"""Suites in the browser: the list, one with its items, and how they are made."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils.text import slugify
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address
from benchmarks import sources, suites
from benchmarks.models import Run, Suite, SuiteItem, SuiteVersion
from jobs.access import get_batch, person, team_of
from jobs.answer_text import parsed, question_of
from jobs.refusals import Refused
from jobs.web.addresses import whole
from jobs.web.conditional import page
from jobs.web.refusing import refuse
from jobs.web.result_filters import ResultFilterForm

from .access import WRITE, get_suite
from .forms import ReplayForm, SuiteForm, VersionForm, metrics_of, source_of

SUITES = 50
ITEMS = 50
RUNS = 10
SHOWN = 160


@require_safe
@login_required
def suite_list(request: HttpRequest) -> HttpResponse:
    """The suites of the person's teams, and those that ship."""
    user = person(request)
    archived = request.GET.get("state") == "archived"
    rows = Suite.objects.visible_to(user).filter(archived_at__isnull=not archived)
    rows = rows.select_related("team").annotate(run_count=Count("versions__runs"))
    before = Suite.objects.visible_to(user).find(request.GET.get("before", ""))
    if before is not None:
        rows = rows.filter(pk__lt=before.pk)
    found = list(rows.order_by("-pk")[: SUITES + 1])
    older = found[SUITES - 1].public_id if len(found) > SUITES else ""
    found = found[:SUITES]
    newest = suites.newest_of(found)
    ctx = {
        "rows": [(suite, newest[suite.pk]) for suite in found],
        "older": older,
        "is_first": before is None,
        "ready": sources.READY,
        "state": "archived" if archived else "",
        "teams": list(permissions.teams_where(user, WRITE)),
    }
    return page(request, "benchmarks/suite_list.html", ctx)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def suite_new(request: HttpRequest) -> HttpResponse:
    """The form for a suite of a file; sent with `ready`, one that ships is added."""
    teams = list(permissions.teams_where(person(request), WRITE))
    team = team_of(request, teams, WRITE)
    slug = request.POST.get("ready", "")
    if request.method == "POST" and slug:
        return _add_ready(request, slug)
    data = request.POST if request.method == "POST" else None
    form = SuiteForm(data, request.FILES or None, auto_id="suite_%s")
    if form.is_bound and form.is_valid():
        given = form.cleaned_data
        try:
            suite = suites.create_suite(
                team=team,
                name=given["name"],
                source=source_of(given["file"]),
                metrics=metrics_of(given["metric"]),
                **_by(request),
            )
        except Refused as refused:
            refuse(form, refused)
        else:
            messages.success(request, "The suite is made.")
            return redirect("suite-detail", code=suite.public_id)
    ctx = {"form": form, "team": team, "teams": teams}
    return page(request, "benchmarks/suite_new.html", ctx)


def _add_ready(request: HttpRequest, slug: str) -> HttpResponse:
    teams = list(permissions.teams_where(person(request), WRITE))
    try:
        suite = suites.create_suite(
            team=team_of(request, teams, WRITE),
            name=sources.ready(slug).name,
            source=sources.of_ready(slug),
            **_by(request),
        )
    except Refused as refused:
        messages.error(request, f"Not added: {refused.message}")
        return redirect("suite-list")
    messages.success(request, "The suite is yours now.")
    return redirect("suite-detail", code=suite.public_id)


def _by(request: HttpRequest) -> dict[str, Any]:
    return {"user": person(request), "address": client_address(request)}


@require_safe
@login_required
def suite_detail(request: HttpRequest, code: str) -> HttpResponse:
    """A version with its items; `version` is another than the newest, `after` pages."""
    suite = get_suite(request, code)
    version = _version(suite, request.GET.get("version", ""))
    after = whole(request.GET.get("after", ""), default=-1)
    rows = version.items.filter(index__gt=after).order_by("index")
    found = list(rows[: ITEMS + 1])
    runs = (
        Run.objects.filter(version=version).select_related("created_by").order_by("-pk")
    )
    ctx = {
        "suite": suite,
        "version": version,
        "versions": list(suite.versions.all()[:20]),
        "newest": suite.versions.count(),
        "items": [_shown(item, version) for item in found[:ITEMS]],
        "next": found[ITEMS - 1].index if len(found) > ITEMS else None,
        "is_first": after < 0,
        "runs": list(runs[:RUNS]),
        "form": VersionForm(auto_id="version_%s"),
        "measures": permissions.user_may(person(request), suite.team, WRITE),
    }
    return page(request, "benchmarks/suite_detail.html", ctx)


def _version(suite: Suite, number: str) -> SuiteVersion:
    if not number:
        return suite.latest
    found = suite.versions.filter(number=whole(number, default=0)).first()
    if found is None:
        raise Http404("The suite has no such version.")
    return found


def _shown(item: SuiteItem, version: SuiteVersion) -> dict[str, Any]:
    item.version = version
    reference = item.reference_text
    if isinstance(item.reference, str):
        reference = item.reference
    return {
        "item": item,
        "question": question_of(parsed(item.body))[:SHOWN],
        "reference": reference[:SHOWN],
        "metrics": item.metrics,
    }


@require_POST
@login_required
def suite_version(request: HttpRequest, code: str) -> HttpResponse:
    """Make the next version of an uploaded file."""
    suite = get_suite(request, code, right=WRITE)
    form = VersionForm(request.POST, request.FILES)
    try:
        if not form.is_valid():
            raise Refused("; ".join(f"{k}: {v[0]}" for k, v in form.errors.items()))
        before = suite.latest.number
        version = suites.add_version(
            suite=suite,
            source=source_of(form.cleaned_data["file"]),
            metrics=metrics_of(form.cleaned_data["metric"]),
            **_by(request),
        )
    except Refused as refused:
        messages.error(request, f"No version was made: {refused.message}")
    else:
        words = f"Version {version.number} is made."
        if version.number == before:
            words = "The file has the same items: there is no new version."
        messages.success(request, words)
    return redirect("suite-detail", code=code)


@require_POST
@login_required
def suite_archive(request: HttpRequest, code: str) -> HttpResponse:
    """Archive the suite, or restore it (`archived` is 0)."""
    suite = get_suite(request, code, right=WRITE)
    archived = request.POST.get("archived", "1") == "1"
    suites.archive_suite(suite=suite, archived=archived, **_by(request))
    return redirect("suite-detail", code=code)


@require_safe
@login_required
def suite_export(request: HttpRequest, code: str) -> StreamingHttpResponse:
    """A version as JSON Lines."""
    suite = get_suite(request, code)
    version = _version(suite, request.GET.get("version", ""))
    name = f"{slugify(suite.name) or 'suite'}-v{version.number}.jsonl"
    return StreamingHttpResponse(
        suites.as_lines(version),
        content_type="application/jsonl",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


# --- results of a batch as items


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def suite_replay(request: HttpRequest, code: str) -> HttpResponse:
    """The form that makes a suite of a batch's rows: of those that the filter leaves."""
    batch = get_batch(request, code, right=WRITE)
    filtering = ResultFilterForm(request.GET, batch=batch)
    wanted = filtering.wanted()
    if wanted is None:
        raise Http404("This filter cannot be understood: open the results anew.")
    named = request.GET.getlist("row")[: sources.MOST_REPLAYED]
    ticked = sorted({n for text in named if (n := whole(text, default=-1)) >= 0})
    data = request.POST if request.method == "POST" else None
    initial: dict[str, Any] = {"name": (batch.name or batch.public_id)[:100]}
    if ticked:
        initial["most"] = len(ticked)
    form = ReplayForm(data, auto_id="replay_%s", initial=initial)
    if form.is_bound and form.is_valid():
        given = form.cleaned_data
        try:
            source = sources.of_results(
                batch,
                wanted,
                most=given["most"],
                with_reference=given["with_reference"],
                rows=ticked,
            )
            suite = suites.create_suite(
                team=batch.team,
                name=given["name"],
                source=source,
                metrics=metrics_of(given["metric"]),
                **_by(request),
            )
        except Refused as refused:
            refuse(form, refused)
        else:
            messages.success(request, "The suite is made.")
            return redirect("suite-detail", code=suite.public_id)
    ctx = {
        "batch": batch,
        "form": form,
        "is_filtered": not wanted.is_empty,
        "ticked": len(ticked),
        "query": filtering.query(),
    }
    return page(request, "benchmarks/suite_replay.html", ctx)
