# SPDX-License-Identifier: Apache-2.0
"""One action on several batches, saved views of the list, and the list as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import User
from jobs import changes, lifecycle, removal, retry, submit
from jobs.access import person
from jobs.models import Batch, SavedView
from jobs.refusals import NotNow, Refused
from jobs.templatetags.figures import title_of

from . import deleted, spreadsheets
from .batch_filters import BatchFilterForm

MOST = 200
MOST_VIEWS = 50
READ_AT_ONCE = 500
# What is asked about again before it is done.
SURE = {
    "cancel": "Cancel",
    "tag": "Tag",
    "retry": "Retry the failed requests of",
    "delete": "Delete",
}
DONE = {
    "pause": "paused",
    "resume": "resumed",
    "tag": "tagged",
    "cancel": "being cancelled",
    "retry": "run again in part",
    "delete": "deleted",
}
HEAD = (
    *("id", "name", "status", "team", "owner", "model", "endpoint", "priority", "tags"),
    *(
        "created (UTC)",
        "started (UTC)",
        "ended (UTC)",
        "requests",
        "answered",
        "failed",
    ),
    *("input tokens", "cached tokens", "output tokens"),
)


@require_POST
@login_required
def batch_bulk(request: HttpRequest) -> HttpResponse:
    """Do one thing (`do`) with the chosen batches (`batch`, several times).

    Cancelling, tagging, retrying and deleting are asked about first. Those that the person may
    not change, or that are in no state for it, are left out, and said.
    """
    do = request.POST.get("do", "")
    user = person(request)
    codes = list(dict.fromkeys(request.POST.getlist("batch")))[:MOST]
    mine = Batch.objects.visible_to(user).for_list()
    chosen = list(mine.filter(public_id__in=codes)) if codes else []
    if do not in DONE or not chosen:
        messages.warning(request, "Choose at least one batch first.")
        return redirect("batch-list")
    if do in SURE and request.POST.get("sure") != "yes":
        ctx = {
            "batches": chosen,
            "do": do,
            "word": SURE[do],
            "days": settings.BATCHSITE_DELETED_DAYS,
            "large": deleted.TYPED_ABOVE,
        }
        return render(request, "jobs/batch_bulk.html", ctx)
    _tell(request, do, [_one(request, user, batch, do) for batch in chosen])
    return redirect("batch-list")


def _one(request: HttpRequest, user: User, batch: Batch, do: str) -> str:
    """Do it with one batch; why not, in words, "" when it was done."""
    if not permissions.user_may(user, batch.team, "batches:write"):
        return permissions.refusal("batches:write")
    if do == "delete" and deleted.must_be_typed(batch):
        return f"it has {batch.total:,} requests: delete it on its own page"
    tag = request.POST.get("tag", "")
    who: dict[str, Any] = {"user": user, "address": client_address(request)}
    acts: dict[str, Callable[[], object]] = {
        "pause": lambda: changes.update_batch(batch=batch, paused=True, **who),
        "resume": lambda: changes.update_batch(batch=batch, paused=False, **who),
        "tag": lambda: changes.add_tag(batch=batch, tag=tag, **who),
        "cancel": lambda: submit.cancel_batch(batch=batch, **who),
        "retry": lambda: retry.retry_failed(batch=batch, **who),
        "delete": lambda: removal.delete_batch(batch=batch, **who),
    }
    try:
        acts[do]()
    except lifecycle.CannotCancel as refused:
        return f"it is {refused.status.replace('_', ' ')}"
    except Refused as refused:
        return refused.message
    except NotNow as late:
        return str(late)
    return ""


def _tell(request: HttpRequest, do: str, refusals: list[str]) -> None:
    """How many it was done with, and the first reason why it was not."""
    done = refusals.count("")
    if done:
        words = f"{done:,} batch{'es are' if done != 1 else ' is'} {DONE[do]}."
        messages.success(request, words)
    if left := [why for why in refusals if why]:
        words = f"{len(left):,} left as {'they were' if len(left) != 1 else 'it was'}:"
        messages.warning(request, f"{words} {left[0]}")


@require_safe
@login_required
def batch_export(request: HttpRequest) -> HttpResponseBase:
    """All batches that the list's filter leaves, newest first, as CSV."""
    user = person(request)
    form = BatchFilterForm(request.GET, user=user)
    found = form.narrow(Batch.objects.visible_to(user)).for_list().order_by("-pk")

    def rows() -> Iterator[list[object]]:
        last: int | None = None
        while some := list(
            (found if last is None else found.filter(pk__lt=last))[:READ_AT_ONCE]
        ):
            yield from (_cells(batch) for batch in some)
            last = some[-1].pk

    answer = StreamingHttpResponse(
        spreadsheets.lines(HEAD, rows()), content_type="text/csv; charset=utf-8"
    )
    answer["Content-Disposition"] = 'attachment; filename="batches.csv"'
    return answer


def _cells(batch: Batch) -> list[object]:
    moments = (batch.created_at, batch.in_progress_at, batch.ended_at)
    return [
        *(batch.public_id, title_of(batch), batch.status, batch.team.name),
        *(batch.owner.email if batch.owner else "", batch.model, batch.endpoint),
        *(batch.priority, ", ".join(batch.tags)),
        *(f"{at:%Y-%m-%d %H:%M:%S}" if at else "" for at in moments),
        *(batch.total, batch.completed, batch.failed),
        *(batch.input_tokens, batch.cached_tokens, batch.output_tokens),
    ]


@require_POST
@login_required
def saved_view_save(request: HttpRequest) -> HttpResponse:
    """Keep the list's filter (`query`) under a name; an old one of that name goes."""
    user = person(request)
    form = BatchFilterForm(QueryDict(request.POST.get("query", "")[:1000]), user=user)
    name = request.POST.get("name", "").strip()[:60]
    query = form.query()
    if not name or not query or "\0" in name:
        messages.warning(request, "A view needs a name, and a filter to keep.")
        return redirect("batch-list")
    known = SavedView.objects.filter(user=user).exclude(name=name).count()
    if known >= MOST_VIEWS:
        messages.warning(request, f"You have {MOST_VIEWS} views: forget one first.")
    else:
        SavedView.objects.update_or_create(
            user=user, name=name, defaults={"query": query}
        )
    return redirect(f"{reverse('batch-list')}?{query}")


@require_POST
@login_required
def saved_view_delete(request: HttpRequest, key: int) -> HttpResponse:
    """Forget one of the person's own views."""
    get_object_or_404(SavedView, pk=key, user=person(request)).delete()
    return redirect("batch-list")
