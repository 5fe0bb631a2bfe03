# SPDX-License-Identifier: Apache-2.0
"""/v1/benchmarks/suites: requests with what is expected of their answers."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from batchsite.accounts.models import Team
from benchmarks import sources, suites
from benchmarks.models import Suite, SuiteVersion
from benchmarks.scoring import read as read_metrics
from benchmarks.sources import Source
from jobs.api import bodies, params
from jobs.api.auth import caller, need, scope
from jobs.api.found import unknown, who
from jobs.api.paging import cursor_of, page, page_limit, unknown_cursor
from jobs.api.parsers import body_of
from jobs.api.schema.operation import JSONL
from jobs.api.serializers import list_object
from jobs.row_checks.parameters import bad

from .objects import item_object, suite_object

SOURCES = ("file_id", "ready", "batch_id")
OF_BATCH = ("filter", "most", "with_reference")
CONTENT = (*SOURCES, *OF_BATCH, "metrics")
USUAL_REPLAYED = 200


@api_view(["GET", "POST"])
@scope("benchmarks")
def suite_collection(request: Request) -> Response:
    """GET lists the team's suites, newest first; POST makes one."""
    team = caller(request).team
    if request.method == "POST":
        body = body_of(request)
        bodies.known_only(body, ("name", *CONTENT))
        suite = suites.create_suite(
            team=team,
            name=params.text(body, "name"),
            source=_source(request, team, body),
            metrics=_metrics(body),
            **who(request),
        )
        return Response(suite_object(suite, suite.latest))
    rows = Suite.objects.visible_to_team(team)
    found, has_more = page(
        rows,
        cursor=cursor_of(rows, request, "suite"),
        limit=page_limit(request, default=20, most=100),
    )
    newest = suites.newest_of(found)
    data = [suite_object(suite, newest[suite.pk]) for suite in found]
    return Response(list_object(data, has_more=has_more))


def _source(request: Request, team: Team, body: bodies.Body) -> Source:
    """What the body takes the items from: one of three."""
    given = [name for name in SOURCES if body.get(name) is not None]
    if len(given) != 1:
        why = f"name one of {params.listed(SOURCES)}, and no second one."
        raise bad((given or SOURCES[:1])[-1], why)
    if given == ["file_id"]:
        need(request, "files:read")
        return sources.of_file(bodies.file(team, body, "file_id"))
    if given == ["ready"]:
        return sources.of_ready(params.text(body, "ready"))
    need(request, "batches:read")
    batch = bodies.batch(team, body["batch_id"], "batch_id")
    most = body.get("most", USUAL_REPLAYED)
    return sources.of_results(
        batch,
        bodies.filter_of(body, batch),
        most=params.integer("most", most, least=1, most=sources.MOST_REPLAYED),
        with_reference=(
            body.get("with_reference") is None or bodies.truth(body, "with_reference")
        ),
    )


def _metrics(body: bodies.Body) -> Any:
    given = body.get("metrics")
    return None if given is None else read_metrics("metrics", given)


@api_view(["GET", "POST"])
@scope("benchmarks")
def suite_detail(request: Request, suite_id: str) -> Response:
    """GET shows a suite, in its newest version or in `version`; POST archives it."""
    suite = _suite(request, suite_id)
    if request.method == "POST":
        body = body_of(request)
        bodies.known_only(body, ("archived",))
        if body.get("archived") is not None:
            archived = bodies.truth(body, "archived")
            suites.archive_suite(suite=suite, archived=archived, **who(request))
        return Response(suite_object(suite, suite.latest))
    return Response(suite_object(suite, _version(request, suite)))


@api_view(["POST"])
@scope("benchmarks")
def suite_versions(request: Request, suite_id: str) -> Response:
    """Make the next version; the same items again make none."""
    suite = _suite(request, suite_id)
    body = body_of(request)
    bodies.known_only(body, CONTENT)
    version = suites.add_version(
        suite=suite,
        source=_source(request, suite.team, body),
        metrics=_metrics(body),
        **who(request),
    )
    return Response(suite_object(suite, version))


@api_view(["GET"])
@scope("benchmarks")
def suite_items(request: Request, suite_id: str) -> Response:
    """The items of a version, in their order; `after` is the id of an item."""
    version = _version(request, _suite(request, suite_id))
    limit = page_limit(request, default=20, most=100)
    rows = version.items.order_by("index")
    if after := request.query_params.get("after"):
        seen = None if "\0" in after else rows.filter(custom_id=after).first()
        if seen is None:
            raise unknown_cursor("item", after)
        rows = rows.filter(index__gt=seen.index)
    found = list(rows[: limit + 1])
    for item in found:
        item.version = version
    data = [item_object(item) for item in found[:limit]]
    return Response(list_object(data, has_more=len(found) > limit))


@api_view(["GET"])
@scope("benchmarks")
def suite_export(request: Request, suite_id: str) -> StreamingHttpResponse:
    """A version as JSON Lines that make the same suite on any site."""
    version = _version(request, _suite(request, suite_id))
    return StreamingHttpResponse(suites.as_lines(version), content_type=JSONL)


def _suite(request: Request, suite_id: str) -> Suite:
    rows = Suite.objects.visible_to_team(caller(request).team)
    found = rows.select_related("team").find(suite_id)
    if found is None:
        raise unknown("suite", suite_id)
    return found


def _version(request: Request, suite: Suite) -> SuiteVersion:
    """The version that the query names, else the newest."""
    number = request.query_params.get("version")
    if number is None:
        return suite.latest
    return numbered_version(suite, "version", number)


def numbered_version(suite: Suite, param: str, number: Any) -> SuiteVersion:
    """The suite's version with that number; Refused, or 400, names the parameter."""
    wanted = params.integer(param, number, least=1, most=2**31 - 1)
    found = suite.versions.filter(number=wanted).first()
    if found is None:
        raise bad(param, "the suite has no such version.")
    return found
