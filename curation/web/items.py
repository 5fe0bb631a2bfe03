# SPDX-License-Identifier: Apache-2.0
"""The items of a queue: the list, one with all that was said of it, and what is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import User
from curation import resolving, reviewing, standing, tending
from curation.models import (
    Candidate,
    Resolution,
    Response,
    ReviewItem,
    ReviewQueue,
)
from curation.models.items import ItemQuerySet
from curation.questions import Question
from jobs.access import person
from jobs.answer_text import parsed, text_of
from jobs.ids import may_be_id
from jobs.refusals import Refused
from jobs.templatetags.figures import printable
from jobs.web.conditional import page

from . import answers, screen
from .access import WRITE, get_item, get_queue
from .queue_forms import reviewers
from .queues import tab_context

ITEMS = 50
MOST_CHOSEN = 500
PREVIEW = 200
State = ReviewItem.State
# What the list is narrowed to: its name in the address, and in words.
VIEWS = {
    "": "all",
    "disputed": "to be decided",
    "waiting": "waiting",
    "done": "done",
    "flagged": "flagged",
    "gold": "gold",
    "excluded": "left out",
}


@dataclass(frozen=True, slots=True)
class Row:
    """An item in the list, with the beginning of what is judged."""

    item: ReviewItem
    asked: str
    answer: str


@require_safe
@login_required
def item_list(request: HttpRequest, code: str) -> HttpResponse:
    """The queue's items; `view` narrows them, `q` is an id or a custom_id.

    `after` is the id of the last item of the page before. Disputed ones come by how far
    the judgements are apart, all others by age.
    """
    queue = get_queue(request, code)
    view = request.GET.get("view", "")
    view = view if view in VIEWS else ""
    wanted = request.GET.get("q", "").strip()
    found = _narrowed(queue, view, wanted)
    after = ReviewItem.objects.filter(queue=queue).find(request.GET.get("after", ""))
    if after is not None:
        found = found.behind(after, by_severity=view == "disputed")
    rows = list(_for_list(found)[: ITEMS + 1])
    ctx = tab_context(request, queue, "items") | {
        "rows": [_row(item) for item in rows[:ITEMS]],
        "view": view,
        "views": VIEWS,
        "q": wanted,
        "is_first": after is None,
        "next": rows[ITEMS - 1].public_id if len(rows) > ITEMS else "",
        "people": reviewers(queue.team),
    }
    return page(request, "curation/item_list.html", ctx)


def _narrowed(queue: ReviewQueue, view: str, wanted: str) -> ItemQuerySet:
    rows = ReviewItem.objects.filter(queue=queue)
    if wanted:
        named = ReviewItem.objects.find(wanted)
        rows = rows.filter(pk=named.pk) if named else rows.by_custom_id(wanted)
    match view:
        case "disputed":
            return rows.filter(state=State.AWAITING_RESOLUTION).order_by(
                "-severity", "id"
            )
        case "waiting":
            rows = rows.filter(state__in=(State.PENDING, State.IN_PROGRESS))
        case "done":
            rows = rows.filter(state=State.COMPLETED)
        case "excluded":
            rows = rows.filter(state=State.EXCLUDED)
        case "flagged":
            rows = rows.filter(flagged=True)
        case "gold":
            rows = rows.filter(pk__in=ReviewItem.objects.gold(queue).values("pk"))
    return rows.order_by("id")


def _for_list(rows: ItemQuerySet) -> ItemQuerySet:
    shown = Candidate.objects.order_by("place")
    return rows.select_related("version", "assigned_to").prefetch_related(
        Prefetch("version__candidates", shown, to_attr="listed")
    )


def _row(item: ReviewItem) -> Row:
    version = item.version
    assert version is not None
    candidates: list[Candidate] = version.listed  # type: ignore[attr-defined]  # prefetched
    said = " | ".join(text_of(parsed(one.body))[:PREVIEW] for one in candidates)
    asked = screen.question(version.request_body)
    return Row(item, printable(asked[:PREVIEW]), printable(said[: 2 * PREVIEW]))


# --- one item


@require_safe
@login_required
def item_detail(request: HttpRequest, code: str, item: str) -> HttpResponse:
    """All that was said of an item, side by side, and what holds."""
    queue = get_queue(request, code)
    found = get_item(queue, item)
    return _detail(request, found)


def _detail(
    request: HttpRequest,
    item: ReviewItem,
    *,
    given: dict[str, Any] | None = None,
    refused: Refused | None = None,
) -> HttpResponse:
    queue, version = item.queue, item.version
    if version is None:
        raise Http404("This item has nothing to judge.")
    candidates = list(version.candidates.all())
    questions = queue.rubric_version.questions
    # Whoever decides sees the answers as they were put in.
    layout = [candidate.place for candidate in candidates]
    said = Response.objects.submitted().filter(version=version)
    judges = reviewing.may_still_judge(item, person(request))
    blind = judges and queue.blind_others
    hides_model = judges and queue.blind_model
    judged = [] if blind else list(said.select_related("user").order_by("submitted_at"))
    resolution = Resolution.objects.filter(version=version).select_related("by").first()
    holds = resolution.answers if resolution else {}
    errors = screen.errors_of(refused)
    ctx = tab_context(request, queue, "items") | {
        "item": item,
        "version": version,
        "asked": screen.request_of(version.request_body),
        "shown": screen.answers_of(
            queue, candidates, layout, shows_model=not hides_model
        ),
        "candidates": candidates,
        "blind": blind,
        "hides_model": hides_model,
        "judged": judged,
        "judged_rows": _side_by_side(questions, judged, layout),
        "resolution": resolution,
        "holds": screen.spoken(questions, holds, layout),
        "fields": answers.fields(
            questions,
            holds if given is None else given,
            original=screen.original(candidates),
            layout=layout,
            errors=errors,
        ),
        "refused": refused,
        "has_errors": bool(errors),
        "events": list(item.events.select_related("user")[: screen.EVENTS_SHOWN]),
        "people": reviewers(queue.team),
        "may_judge": reviewing.may_review(queue, person(request)),
    }
    return page(request, "curation/item_detail.html", ctx)


def _side_by_side(
    questions: Sequence[Question], judged: Sequence[Response], layout: list[int]
) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """Each question with what each person said: who, in words, and whether they differ."""
    found = []
    for question in questions:
        said = [response.answers.get(question.key) for response in judged]
        compared = question.type not in resolving.UNCOMPARED
        differs = compared and len({str(value) for value in said}) > 1
        cells = [
            (
                str(response.user),
                ""
                if value is None
                else printable(screen.in_words(question, value, layout)),
                differs,
            )
            for response, value in zip(judged, said, strict=True)
        ]
        found.append((question.title, cells))
    return found


@require_POST
@login_required
def item_decide(request: HttpRequest, code: str, item: str) -> HttpResponse:
    """What holds: one of the judgements (`chosen`), or the answers of the form."""
    queue = get_queue(request, code, right=WRITE)
    found = get_item(queue, item)
    version = found.version
    if version is None:
        raise Http404("This item has nothing to judge.")
    note = request.POST.get("note", "")
    picked = request.POST.get("chosen", "")
    given: dict[str, Any] | None = None
    try:
        if picked:
            response = _response(found, picked)
            resolving.decide(
                item=found, user=person(request), chosen=response, note=note
            )
        else:
            candidates = list(version.candidates.all())
            given = answers.read_form(
                queue.rubric_version.questions,
                request.POST,
                original=screen.original(candidates),
                candidates=len(candidates),
            )
            resolving.decide(item=found, user=person(request), answers=given, note=note)
    except Refused as refused:
        return _detail(request, found, given=given, refused=refused)
    standing.forget(queue)
    messages.success(request, "Decided.")
    if request.POST.get("then") == "next":
        following = ReviewItem.objects.disputed(queue).first()
        if following is not None:
            return redirect("item-detail", code=code, item=following.public_id)
        return redirect("queue-items", code=code)
    return redirect("item-detail", code=code, item=item)


def _response(item: ReviewItem, picked: str) -> Response:
    rows = Response.objects.submitted().filter(version=item.version_id)
    if not (picked.isascii() and picked.isdecimal() and len(picked) < 19):
        raise Http404("No judgement is named so.")
    found = rows.filter(pk=int(picked)).select_related("user").first()
    if found is None:
        raise Http404("This judgement is not there any more.")
    return found


# --- many items


@require_POST
@login_required
def item_bulk(request: HttpRequest, code: str) -> HttpResponse:
    """Do one `act` with the chosen items (`item`): exclude, include, assign, reopen,
    unflag, gold, no_gold, majority (decide so), or first and later (their priority)."""
    queue = get_queue(request, code, right=WRITE)
    chosen = [c for c in request.POST.getlist("item")[:MOST_CHOSEN] if may_be_id(c)]
    items = list(ReviewItem.objects.filter(queue=queue, public_id__in=chosen))
    act = request.POST.get("act", "")
    if not items:
        messages.info(request, "Choose items first.")
    else:
        try:
            count = _bulk(request, queue, items, act)
        except Refused as refused:
            messages.error(request, refused.message)
        else:
            done = {"include": "taken in again", "exclude": "left out"}.get(
                act, "changed"
            )
            messages.success(request, f"{count} item{'s' * (count != 1)} {done}.")
    standing.forget(queue)
    back = request.POST.get("back", "")
    if len(items) == 1 and back == "item":
        return redirect("item-detail", code=code, item=items[0].public_id)
    address = redirect("queue-items", code=code)
    view = request.POST.get("view", "")
    if view in VIEWS and view:
        address["Location"] += f"?view={view}"
    return address


def _bulk(
    request: HttpRequest, queue: ReviewQueue, items: list[ReviewItem], act: str
) -> int:
    user = person(request)
    by: dict[str, Any] = {
        "queue": queue,
        "items": items,
        "user": user,
        "address": client_address(request),
    }
    match act:
        case "exclude":
            return tending.exclude(**by, reason=request.POST.get("reason", ""))
        case "include":
            return tending.include(**by)
        case "reopen":
            return tending.reopen(**by)
        case "assign":
            return tending.assign(**by, to=_assignee(queue, request.POST.get("to", "")))
        case "gold":
            return tending.make_gold(**by)
        case "no_gold":
            return tending.no_gold(**by)
        case "majority":
            return tending.decide_by_majority(**by)
        case "first":
            return tending.prioritise(**by, priority=100)
        case "later":
            return tending.prioritise(**by, priority=-100)
        case "unflag":
            for item in items:
                reviewing.unflag(item=item, user=user)
            return len(items)
    raise Http404("Nothing is done so.")


def _assignee(queue: ReviewQueue, pk: str) -> User | None:
    """The person that the form names; None for whoever comes."""
    if not pk:
        return None
    found = next((one for one in reviewers(queue.team) if str(one.pk) == pk), None)
    if found is None:
        raise Http404("Nobody of the team is named so.")
    return found
