# SPDX-License-Identifier: Apache-2.0
"""Review queues: the list, one of them, a new one, and its settings."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import Count
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.shortcuts import redirect
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import Team, User
from curation import label_studio, queues, standing
from curation.models import Feed, Response, ReviewItem, ReviewQueue
from jobs.access import person, team_of
from jobs.refusals import Refused
from jobs.templatetags.figures import printable
from jobs.web.conditional import page
from jobs.web.refusing import refuse

from .access import READ, WRITE, get_queue
from .queue_forms import QueueForm, RuleForm, SettingsForm, defaults, initial

QUEUES = 50
FEEDS = 5
IMPORT_BYTES = 50_000_000
STATES = ("open", "archived")


@require_safe
@login_required
def queue_list(request: HttpRequest) -> HttpResponse:
    """The queues of the person's teams, newest first; `state` archived shows those.

    `before` is the id of the last queue of the page before.
    """
    user = person(request)
    state = request.GET.get("state", "open")
    mine = ReviewQueue.objects.visible_to(user)
    archived = state == "archived"
    rows = mine.filter(state=ReviewQueue.State.ARCHIVED) if archived else mine.live()
    before = mine.find(request.GET.get("before", ""))
    if before is not None:
        rows = rows.filter(pk__lt=before.pk)
    found = list(rows.select_related("team", "rubric_version__rubric")[: QUEUES + 1])
    some = found[:QUEUES]
    counts, said = standing.of_each(some), _said_by(user, some)
    ctx = {
        "rows": [(queue, counts[queue.pk], said.get(queue.pk, 0)) for queue in some],
        "state": state if state in STATES else "open",
        "older": some[-1].public_id if len(found) > QUEUES else "",
        "is_first": before is None,
        "teams": list(permissions.teams_where(user, WRITE)),
    }
    return page(request, "curation/queue_list.html", ctx)


def _said_by(user: User, rows: list[ReviewQueue]) -> dict[int, int]:
    """How many items of each queue the person has judged."""
    found = Response.objects.submitted().filter(
        user=user, version__item__queue__in=rows
    )
    grouped = found.order_by().values_list("version__item__queue")
    return dict(grouped.annotate(Count("pk")))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def queue_new(request: HttpRequest) -> HttpResponse:
    """The form for a new queue of the team `team`; the only one where there is one.

    `then` is where to go with it: to the results that are to be sent there.
    """
    user = person(request)
    teams = list(permissions.teams_where(user, WRITE))
    team = team_of(request, teams, WRITE)
    form = QueueForm(
        request.POST or None,
        team=team,
        initial=defaults() | {"kind": request.GET.get("kind", "single")},
        auto_id="queue_%s",
    )
    if request.method == "POST" and form.is_valid():
        queue = _create(request, form, team)
        if queue is not None:
            messages.success(request, "The queue is made. Now put answers into it.")
            return redirect("queue-detail", code=queue.public_id)
    ctx = {"form": form, "team": team, "teams": teams}
    return page(request, "curation/queue_new.html", ctx)


def _create(request: HttpRequest, form: QueueForm, team: Team) -> ReviewQueue | None:
    user, address = person(request), client_address(request)
    try:
        # A ready rubric is made with its first queue, or not at all.
        with transaction.atomic():
            return queues.create_queue(
                team=team,
                name=form.cleaned_data["name"],
                kind=form.cleaned_data["kind"],
                rubric_version=form.rubric_version(user, address),
                user=user,
                assignees=form.people,
                address=address,
                **form.settings,
            )
    except Refused as refused:
        refuse(form, refused)
        return None


@require_safe
@login_required
def queue_detail(request: HttpRequest, code: str) -> HttpResponse:
    """How far the queue is, what it asks, and what feeds it."""
    queue = get_queue(request, code)
    user = person(request)
    ctx = tab_context(request, queue, "overview") | {
        "mine": _said_by(user, [queue]).get(queue.pk, 0),
        "flagged": queue.items.filter(flagged=True).count(),
        "gold": ReviewItem.objects.gold(queue).count(),
        "feeds": list(queue.feeds.select_related("batch", "rule")[:FEEDS]),
        "feeding": Feed.objects.filter(queue=queue, state=Feed.State.WAITING).exists(),
        "rules": list(queue.feed_rules.all()),
    }
    return page(request, "curation/queue_detail.html", ctx)


def tab_context(request: HttpRequest, queue: ReviewQueue, tab: str) -> dict[str, Any]:
    """What the head of each of the queue's pages shows."""
    user = person(request)
    return {
        "queue": queue,
        "tab": tab,
        "standing": standing.of(queue),
        "curates": permissions.user_may(user, queue.team, WRITE),
        "assignees": list(queue.assignees.order_by("email")),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def queue_settings(request: HttpRequest, code: str) -> HttpResponse:
    """The queue's name, rules and reviewers."""
    queue = get_queue(request, code, right=READ if request.method != "POST" else WRITE)
    form = SettingsForm(
        request.POST or None,
        team=queue.team,
        initial=initial(queue),
        auto_id="queue_%s",
    )
    if request.method == "POST" and form.is_valid():
        try:
            queues.change_queue(
                queue=queue,
                user=person(request),
                address=client_address(request),
                assignees=form.people,
                name=form.cleaned_data["name"],
                **form.settings,
            )
        except Refused as refused:
            refuse(form, refused)
        else:
            messages.success(request, "The queue is changed.")
            return redirect("queue-settings", code=code)
    ctx = tab_context(request, queue, "settings") | {
        "form": form,
        "rule_form": RuleForm(auto_id="rule_%s"),
        "rules": list(queue.feed_rules.all()),
    }
    return page(request, "curation/queue_settings.html", ctx)


@require_safe
@login_required
def label_studio_file(request: HttpRequest, code: str) -> HttpResponseBase:
    """The configuration (`part` config) or the tasks of a Label Studio project."""
    queue = get_queue(request, code)
    try:
        config = label_studio.config(queue)
    except Refused as refused:
        messages.error(request, refused.message)
        return redirect("queue-detail", code=code)
    response: HttpResponseBase
    if request.GET.get("part") == "config":
        response = HttpResponse(config, content_type="application/xml")
        name = "label-studio.xml"
    else:
        lines = label_studio.as_lines(queue, user=person(request))
        response = StreamingHttpResponse(lines, content_type="application/json")
        name = "label-studio-tasks.json"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@require_POST
@login_required
def label_studio_take(request: HttpRequest, code: str) -> HttpResponse:
    """Judgements of a file that Label Studio exported."""
    queue = get_queue(request, code, right=WRITE)
    file = request.FILES.get("file")
    try:
        if file is None:
            raise Refused("Choose a file first.")
        if (file.size or 0) > IMPORT_BYTES:
            raise Refused(f"The file has more than {IMPORT_BYTES:,} bytes.")
        taken = label_studio.take(
            queue,
            _json(file.read()),
            user=person(request),
            address=client_address(request),
        )
    except Refused as refused:
        messages.error(request, f"Nothing was taken: {refused.message}")
    else:
        standing.forget(queue)
        words = f"{taken.taken} judgement{'s' * (taken.taken != 1)} taken."
        if taken.left:
            words += f" {len(taken.left)} left, the first: {printable(taken.left[0])}"
        messages.info(request, words)
    return redirect("queue-detail", code=code)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Refused("the file is no JSON.") from None


@require_POST
@login_required
def queue_state(request: HttpRequest, code: str) -> HttpResponse:
    """Pause, archive or open it again (`state`)."""
    queue = get_queue(request, code, right=WRITE)
    state = request.POST.get("state", "")
    if state not in ReviewQueue.State.values:
        raise Http404("No queue is in such a state.")
    queues.change_queue(
        queue=queue,
        user=person(request),
        address=client_address(request),
        state=state,
    )
    words = {"active": "open", "paused": "paused", "archived": "archived"}[state]
    messages.success(request, f"The queue is {words}.")
    return redirect("queue-detail", code=code)
