# SPDX-License-Identifier: Apache-2.0
"""/v1/curation/queues/{id}/feeds and /rules: answers on their way into a queue."""

from __future__ import annotations

from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from curation import feeding, queues
from curation.models import Choosing, Feed, FeedRule, ReviewQueue
from curation.models.feeds import MOST_SAMPLED
from jobs.api import bodies
from jobs.api import params as plain
from jobs.api.auth import caller, scope
from jobs.api.found import key_of, who
from jobs.api.paging import page_limit
from jobs.api.parsers import body_of
from jobs.api.serializers import list_object

from . import params
from .found import FEED, queue_or_404, rule_or_404
from .objects import feed_object, rule_object

FEEDING = ("batch_id", "beside", "rows", "filter", "how", "most", "assigned_to")
RULE = ("model", "tag", "endpoint", "filter", "how", "most")


@api_view(["GET", "POST"])
@scope("curation")
def queue_feeds(request: Request, queue_id: str) -> Response:
    """GET lists what was sent to the queue, newest first; POST sends answers of a batch."""
    queue = queue_or_404(request, queue_id)
    if request.method == "POST":
        return Response(feed_object(_feed(request, queue)))
    limit = page_limit(request, default=20, most=100)
    rows = queue.feeds.select_related("queue", "batch").order_by("-pk")
    if after := request.query_params.get("after"):
        rows = rows.filter(pk__lt=key_of("after", after, FEED, "feed"))
    found = list(rows[: limit + 1])
    data = [feed_object(feed) for feed in found[:limit]]
    return Response(list_object(data, has_more=len(found) > limit))


def _feed(request: Request, queue: ReviewQueue) -> Feed:
    body, team = body_of(request), caller(request).team
    bodies.known_only(body, FEEDING)
    beside = bodies.texts(body, "beside", most=queues.RANKED_MOST)
    how = plain.text(body, "how") if "how" in body else Choosing.ALL
    most = plain.integer("most", body.get("most", 100), least=1, most=MOST_SAMPLED)
    batch = bodies.batch(team, body.get("batch_id"), "batch_id")
    return feeding.ask(
        queue=queue,
        batch=batch,
        beside=[
            bodies.batch(team, one, f"beside[{n}]") for n, one in enumerate(beside)
        ],
        rows=bodies.rows(body),
        wanted=bodies.filter_of(body, batch),
        how=how,
        most=most,
        assigned_to=params.one_person(team, body, "assigned_to"),
        **who(request),
    )


@api_view(["GET", "POST"])
@scope("curation")
def queue_rules(request: Request, queue_id: str) -> Response:
    """GET lists the rules that feed the queue, at most 20; POST makes one."""
    queue = queue_or_404(request, queue_id)
    if request.method == "POST":
        return Response(rule_object(_rule(request, queue)))
    rules = queue.feed_rules.select_related("queue")
    return Response(list_object([rule_object(r) for r in rules], has_more=False))


def _rule(request: Request, queue: ReviewQueue) -> FeedRule:
    body = body_of(request)
    bodies.known_only(body, RULE)
    wanted, check = bodies.result_filter(body)
    return feeding.add_rule(
        queue=queue,
        wanted=wanted,
        check=check,
        how=plain.text(body, "how") if "how" in body else Choosing.RANDOM,
        most=plain.integer("most", body.get("most", 100), least=1, most=MOST_SAMPLED),
        model=bodies.loose_text(body, "model", 200),
        tag=bodies.loose_text(body, "tag", 64),
        endpoint=bodies.loose_text(body, "endpoint", 64),
        **who(request),
    )


@api_view(["DELETE"])
@scope("curation")
def rule_detail(request: Request, rule_id: str) -> Response:
    """Feed nothing by the rule any more; what it fed stays."""
    rule = rule_or_404(request, rule_id)
    gone = {"id": rule_id, "object": "curation.rule", "deleted": True}
    feeding.remove_rule(rule=rule, **who(request))
    return Response(gone)
