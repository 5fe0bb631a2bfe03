# SPDX-License-Identifier: Apache-2.0
"""/v1/curation/queues/{id}/judge_runs: a judge model beside people."""

from __future__ import annotations

from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from curation import judge_scores, judging
from curation.models import JudgeRun
from jobs.api import bodies
from jobs.api import params as plain
from jobs.api.auth import scope
from jobs.api.found import key_of, who
from jobs.api.paging import page_limit
from jobs.api.parsers import body_of
from jobs.api.serializers import list_object

from .found import JUDGE_RUN, judge_run_or_404, queue_or_404
from .objects import judge_run_object


@api_view(["GET", "POST"])
@scope("curation")
def judge_runs(request: Request, queue_id: str) -> Response:
    """GET lists the queue's runs, newest first; POST puts its rubric to a model."""
    queue = queue_or_404(request, queue_id)
    if request.method == "POST":
        body = body_of(request)
        bodies.known_only(body, ("model", "most", "words"))
        most = body.get("most", judging.USUAL_ITEMS)
        run = judging.ask(
            queue=queue,
            model=plain.text(body, "model"),
            most=plain.integer("most", most, least=1, most=judging.MOST_ITEMS),
            words=bodies.loose_text(body, "words", judging.WORDS_LENGTH),
            **who(request),
        )
        return Response(judge_run_object(run, None))
    limit = page_limit(request, default=20, most=100)
    rows = JudgeRun.objects.filter(queue=queue).select_related("queue", "batch")
    if after := request.query_params.get("after"):
        rows = rows.filter(pk__lt=key_of("after", after, JUDGE_RUN, "judge's run"))
    found = list(rows.order_by("-pk")[: limit + 1])
    data = [judge_run_object(run, None) for run in found[:limit]]
    return Response(list_object(data, has_more=len(found) > limit))


@api_view(["GET"])
@scope("curation")
def judge_run(request: Request, judge_run_id: str) -> Response:
    """A run, and how far the judge and people agree."""
    found = judge_run_or_404(request, judge_run_id)
    return Response(judge_run_object(found, judge_scores.standing(found)))
