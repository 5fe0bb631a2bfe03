# SPDX-License-Identifier: Apache-2.0
"""/v1/benchmarks/runs: suites put to models, and models beside each other."""

from __future__ import annotations

from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from benchmarks import running
from benchmarks.comparing import contestants
from benchmarks.models import Run, Suite, SuiteVersion
from benchmarks.running import MOST_CELLS, MOST_REPEATS, USUAL, read_variants
from benchmarks.scoring import OVERALL
from jobs.api import bodies, params
from jobs.api.auth import caller, scope
from jobs.api.found import unknown, who
from jobs.api.paging import cursor_of, page, page_limit
from jobs.api.parsers import body_of
from jobs.api.serializers import list_object
from jobs.row_checks.parameters import bad

from .objects import comparison_object, run_object
from .suites import numbered_version

ASKED = ("suite_id", "suite_version", "models", "variants", "repeats", "name")


@api_view(["GET", "POST"])
@scope("benchmarks")
def run_collection(request: Request) -> Response:
    """GET lists the team's runs, newest first; POST starts one."""
    if request.method == "POST":
        return Response(run_object(_ask(request)))
    rows = Run.objects.visible_to_team(caller(request).team)
    found, has_more = page(
        rows.select_related("version__suite", "rerun_of"),
        cursor=cursor_of(rows, request, "run"),
        limit=page_limit(request, default=20, most=100),
    )
    return Response(
        list_object([run_object(r, with_tags=False) for r in found], has_more=has_more)
    )


def _ask(request: Request) -> Run:
    body = body_of(request)
    bodies.known_only(body, ASKED)
    variants = USUAL
    if body.get("variants") is not None:
        variants = tuple(read_variants("variants", body["variants"]))
    return running.ask(
        version=_version(request, body),
        models=bodies.texts(body, "models", most=MOST_CELLS),
        variants=variants,
        repeats=params.integer(
            "repeats", body.get("repeats", 1), least=1, most=MOST_REPEATS
        ),
        name=bodies.loose_text(body, "name", 100),
        **who(request),
    )


def _version(request: Request, body: bodies.Body) -> SuiteVersion:
    rows = Suite.objects.visible_to_team(caller(request).team)
    suite = rows.select_related("team").find(params.text(body, "suite_id"))
    if suite is None:
        raise bad("suite_id", "the team has no such suite.")
    if body.get("suite_version") is None:
        return suite.latest
    return numbered_version(suite, "suite_version", body["suite_version"])


@api_view(["GET"])
@scope("benchmarks")
def run_detail(request: Request, run_id: str) -> Response:
    """A run with its cells and what came of each."""
    return Response(run_object(_run(request, run_id)))


@api_view(["POST"])
@scope("benchmarks")
def run_cancel(request: Request, run_id: str) -> Response:
    """End what has not ended; what is done stays."""
    run = _run(request, run_id)
    running.cancel(run=run, **who(request))
    return Response(run_object(run))


@api_view(["POST"])
@scope("benchmarks")
def run_resume(request: Request, run_id: str) -> Response:
    """Run the cells that were cancelled or failed once more."""
    run = _run(request, run_id)
    running.resume(run=run, **who(request))
    return Response(run_object(run))


@api_view(["POST"])
@scope("benchmarks")
def run_rerun(request: Request, run_id: str) -> Response:
    """The same items, models and variants once more, as a run of its own."""
    made = running.rerun(run=_run(request, run_id), **who(request))
    return Response(run_object(made))


@api_view(["GET"])
@scope("benchmarks")
def run_comparison(request: Request, run_id: str) -> Response:
    """Each model and variant beside the baseline: the difference, and what is worse.

    `baseline` is the position of one of its cells, the first one where it is not said;
    `metric` is the mean of all where it is not said.
    """
    run = _run(request, run_id)
    query = request.query_params
    metric = query.get("metric", OVERALL)
    place = params.integer(
        "baseline", query.get("baseline", 0), least=0, most=MOST_CELLS
    )
    found = contestants(run)
    chosen = [one for one in found if place in {c.position for c in one.cells}]
    if not chosen:
        raise bad("baseline", "no cell of the run has this position.")
    others = [one for one in found if one is not chosen[0]]
    return Response(comparison_object(run, metric, chosen[0], others))


def _run(request: Request, run_id: str) -> Run:
    rows = Run.objects.visible_to_team(caller(request).team)
    found = rows.select_related("version__suite__team", "rerun_of").find(run_id)
    if found is None:
        raise unknown("run", run_id)
    return found
