# SPDX-License-Identifier: Apache-2.0
"""The review screen: one item after the other, judged by the keyboard.

Each step answers with the next screen, so that a judgement and the next item cost one
way to the server and back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from curation import reviewing, standing
from curation.models import ItemVersion, Response, ReviewItem, ReviewQueue
from curation.reviewing import NotYours, Work
from jobs.access import person
from jobs.jsonl import quoted
from jobs.refusals import NotForThem, NotNow, Refused
from jobs.web.conditional import page

from . import answers, screen
from .access import WRITE, get_item, get_queue, get_version

# What stands in the way of an act; its words are for the person.
Hindrance = (NotNow, NotForThem)


@require_safe
@login_required
def review(request: HttpRequest, code: str) -> HttpResponse:
    """The person's next item, held from now on, or that there is none."""
    queue = get_queue(request, code, right=WRITE)
    return _next(request, queue)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def review_item(request: HttpRequest, code: str, item: str) -> HttpResponse:
    """One item that the person chose, or judged before; a POST does one `act` with it."""
    queue = get_queue(request, code, right=WRITE)
    found = get_item(queue, item)
    if request.method == "POST":
        act = ACTS.get(request.POST.get("act", ""))
        if act is None:
            raise Http404("Nothing is done so.")
        return act(request, get_version(found, request.POST.get("version", "")))
    return _open(request, found)


def _open(request: HttpRequest, item: ReviewItem) -> HttpResponse:
    user = person(request)
    mine = Response.objects.submitted().filter(version=item.version_id, user=user)
    try:
        if mine.exists():
            work = reviewing.look_back(item=item, user=user)
        else:
            work = reviewing.open_item(item=item, user=user)
    except Hindrance as why:
        return _nothing(request, item.queue, str(why))
    return _screen(request, work)


def _next(request: HttpRequest, queue: ReviewQueue, said: str = "") -> HttpResponse:
    try:
        work = reviewing.next_work(queue=queue, user=person(request))
    except Hindrance as why:
        return _nothing(request, queue, str(why), said)
    if work is None:
        return _nothing(request, queue, "", said)
    # Each query of the queue was made when it was fetched.
    work.item.queue = queue
    return _screen(request, work, said=said)


def _screen(
    request: HttpRequest,
    work: Work,
    *,
    given: dict[str, Any] | None = None,
    refused: Refused | None = None,
    said: str = "",
    problem: str = "",
) -> HttpResponse:
    ctx = screen.context(work, person(request), given=given, refused=refused)
    ctx |= {"said": said, "problem": problem}
    return _drawn(request, ctx)


def _nothing(
    request: HttpRequest, queue: ReviewQueue, why: str, said: str = ""
) -> HttpResponse:
    ctx = {**screen.frame(queue), "why": why, "said": said}
    return _drawn(request, ctx)


def _drawn(request: HttpRequest, ctx: dict[str, Any]) -> HttpResponse:
    if getattr(request, "htmx", False):
        return render(request, "curation/_review.html", ctx)
    return page(request, "curation/review.html", ctx)


# --- what is done with an item


def _given(request: HttpRequest, version: ItemVersion) -> dict[str, Any]:
    candidates = list(version.candidates.all())
    return answers.read_form(
        version.item.queue.rubric_version.questions,
        request.POST,
        original=screen.original(candidates),
        candidates=len(candidates),
    )


def _seconds(request: HttpRequest) -> float:
    try:
        seconds = float(request.POST.get("seconds", "0"))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def _submit(request: HttpRequest, version: ItemVersion) -> HttpResponse:
    """Count the judgement, and show the next item; what is refused stays on the screen."""
    user, item = person(request), version.item
    given = _given(request, version)
    try:
        reviewing.submit(
            version=version, user=user, answers=given, seconds=_seconds(request)
        )
    except Refused as refused:
        work = _own(item, version, request)
        return _screen(request, work, given=given, refused=refused)
    except Hindrance as why:
        return _next_after(request, item, f"Not counted: {_lower(str(why))}")
    standing.forget(item.queue)
    return _next_after(request, item, "submitted")


def _own(item: ReviewItem, version: ItemVersion, request: HttpRequest) -> Work:
    """The screen that the person had; 404 for one who never had it."""
    user = person(request)
    response = Response.objects.filter(version=version, user=user).first()
    if response is None:
        raise Http404("You have not been given this item.")
    response.version = version
    return Work(item, version, list(version.candidates.all()), response)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _next_after(request: HttpRequest, item: ReviewItem, said: str) -> HttpResponse:
    if getattr(request, "htmx", False):
        return _next(request, item.queue, said)
    if said.startswith("Not"):
        messages.warning(request, said)
    return redirect("review", code=item.queue.public_id)


def _draft(request: HttpRequest, version: ItemVersion) -> HttpResponse:
    """Keep what was typed; told as JSON, for scripts: `saved`, `held`, and `why` not."""
    user = person(request)
    held = reviewing.keep(version=version, user=user)
    try:
        reviewing.save_draft(
            version=version,
            user=user,
            answers=_given(request, version),
            seconds=_seconds(request),
        )
    except Refused as refused:
        why = screen.errors_of(refused) or {"": refused.message}
        return _told(request, version, {"saved": False, "held": held, "why": why})
    except NotYours as why_not:
        why = {"": str(why_not)}
        return _told(request, version, {"saved": False, "held": held, "why": why})
    return _told(request, version, {"saved": True, "held": held, "why": {}})


def _told(
    request: HttpRequest, version: ItemVersion, facts: dict[str, Any]
) -> HttpResponse:
    if request.headers.get("Accept", "").startswith("application/json"):
        return JsonResponse(facts)
    item = version.item
    word = "Kept as a draft." if facts["saved"] else "Not kept: mend what is marked."
    messages.info(request, word)
    return redirect("review-item", code=item.queue.public_id, item=item.public_id)


def _skip(request: HttpRequest, version: ItemVersion) -> HttpResponse:
    """Never show the version to this person again."""
    item = version.item
    try:
        reviewing.skip(
            version=version,
            user=person(request),
            reason=request.POST.get("skip_reason", ""),
        )
    except (*Hindrance, Refused) as why:
        work = _own(item, version, request)
        given = _given(request, version)
        return _screen(request, work, given=given, problem=str(why))
    return _next_after(request, item, "skipped")


def _flag(request: HttpRequest, version: ItemVersion) -> HttpResponse:
    """Mark the item for whoever looks after the queue; the person stays with it."""
    item, given = version.item, _given(request, version)
    reason = request.POST.get("flag_reason", "").strip()
    work = _own(item, version, request)
    try:
        reviewing.flag(
            version=version,
            user=person(request),
            reason=reason,
        )
    except (*Hindrance, Refused) as why:
        return _screen(request, work, given=given, problem=str(why))
    item.flagged, item.flag_reason = True, reason
    if not getattr(request, "htmx", False):
        return redirect("review-item", code=item.queue.public_id, item=item.public_id)
    return _screen(request, work, given=given, said="flagged")


def _leave(request: HttpRequest, version: ItemVersion) -> HttpResponse:
    """Let others have it, and go back to the queue; what was typed stays as a draft."""
    user = person(request)
    with suppress(Refused, NotYours):
        reviewing.save_draft(
            version=version, user=user, answers=_given(request, version)
        )
    reviewing.release(version=version, user=user)
    return redirect("queue-detail", code=version.item.queue.public_id)


ACTS: dict[str, Callable[[HttpRequest, ItemVersion], HttpResponse]] = {
    "submit": _submit,
    "draft": _draft,
    "skip": _skip,
    "flag": _flag,
    "leave": _leave,
}


@require_POST
@login_required
def review_undo(request: HttpRequest, code: str) -> HttpResponse:
    """Take back what the person did last in the queue, and show that item again."""
    queue = get_queue(request, code, right=WRITE)
    user = person(request)
    try:
        version = reviewing.undo(queue=queue, user=user)
    except Hindrance as why:
        if getattr(request, "htmx", False):
            return _next(request, queue, str(why))
        messages.info(request, str(why))
        return redirect("review", code=code)
    standing.forget(queue)
    item = version.item
    item.queue = queue
    if not getattr(request, "htmx", False):
        return redirect("review-item", code=code, item=item.public_id)
    return _open(request, item)


@require_POST
@login_required
def review_diff(request: HttpRequest, code: str, item: str) -> HttpResponse:
    """A correction as it is typed, against the answer, and whether it fits its schema."""
    queue = get_queue(request, code, right=WRITE)
    found = get_item(queue, item)
    version = get_version(found, request.POST.get("version", ""))
    asked = [q for q in queue.rubric_version.questions if q.type == "correction"]
    if not asked:
        raise Http404("This rubric asks for no correction.")
    text = request.POST.get(answers.name_of(asked[0]), "").replace("\r\n", "\n")
    before = screen.original(list(version.candidates.all()))
    ctx = {"compared": screen.compared(before, text, asked[0])}
    return render(request, "curation/_diff.html", ctx)


@require_safe
@login_required
def review_jump(request: HttpRequest, code: str) -> HttpResponse:
    """The item with that id, or the one whose request has that custom_id (`to`)."""
    queue = get_queue(request, code, right=WRITE)
    wanted = request.GET.get("to", "").strip()
    rows = ReviewItem.objects.filter(queue=queue)
    item = rows.find(wanted) or rows.by_custom_id(wanted).first()
    if item is None:
        said = f"No item of this queue is called {quoted(wanted, 60)}."
        messages.info(request, said)
        return redirect("review", code=code)
    return redirect(reverse("review-item", args=[code, item.public_id]))
