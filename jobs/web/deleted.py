# SPDX-License-Identifier: Apache-2.0
"""Deleting batches in the browser, and the list in which they wait for their removal."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address
from jobs import removal
from jobs.access import get_batch, get_deleted_batch, person
from jobs.models import Batch
from jobs.refusals import NotNow
from jobs.templatetags.figures import title_of

from .conditional import page

# Above so many requests the batch's name is typed, so that nobody deletes it by chance.
TYPED_ABOVE = 10_000
SHOWN = 50


@require_safe
@login_required
def deleted_list(request: HttpRequest) -> HttpResponse:
    """Deleted batches of the person's teams, newest first; `before` names the page."""
    user = person(request)
    mine = Batch.objects.deleted_for(user)
    found = mine.select_related("team", "deleted_by", "input_file")
    if before := mine.find(request.GET.get("before", "")):
        found = found.filter(pk__lt=before.pk)
    rows = list(found.order_by("-pk")[: SHOWN + 1])
    writable = set(
        permissions.teams_where(user, "batches:write").values_list("pk", flat=True)
    )
    ctx: dict[str, Any] = {
        "rows": [(batch, batch.team_id in writable) for batch in rows[:SHOWN]],
        "older": rows[SHOWN - 1].public_id if len(rows) > SHOWN else "",
        "later": before is not None,
        "days": settings.BATCHSITE_DELETED_DAYS,
    }
    return page(request, "jobs/deleted_list.html", ctx)


def gone(request: HttpRequest, code: str) -> HttpResponse:
    """What stands at a deleted batch's address: since when, and the way back; or 404."""
    batch = get_deleted_batch(request, code)
    may = permissions.user_may(person(request), batch.team, "batches:write")
    ctx = {"batch": batch, "may_write": may}
    answer = page(request, "jobs/batch_deleted.html", ctx)
    answer.status_code = 410
    return answer


@require_POST
@login_required
def batch_delete(request: HttpRequest, code: str) -> HttpResponse:
    """Delete a batch that has ended; a large one only with its name or id as `name`."""
    batch = get_batch(request, code, right="batches:write")
    typed = request.POST.get("name", "").strip()
    if must_be_typed(batch) and typed not in names_of(batch):
        messages.warning(
            request,
            f"Nothing was deleted: this batch has {batch.total:,} requests, so type its"
            " name or its id.",
        )
        return redirect("batch-detail", code=batch.public_id)
    try:
        removal.delete_batch(batch=batch, **_who(request))
    except NotNow as refused:
        messages.warning(request, str(refused))
        return redirect("batch-detail", code=batch.public_id)
    messages.success(
        request,
        f"“{title_of(batch)}” is deleted. For {settings.BATCHSITE_DELETED_DAYS} days it"
        " can be restored, from the deleted batches.",
    )
    return redirect("batch-list")


@require_POST
@login_required
def batch_restore(request: HttpRequest, code: str) -> HttpResponse:
    """Bring a deleted batch back, and go there; a second time changes nothing."""
    if kept := Batch.objects.visible_to(person(request)).find(code):
        permissions.require(person(request), kept.team, "batches:write")
        return redirect("batch-detail", code=kept.public_id)
    batch = get_deleted_batch(request, code, right="batches:write")
    try:
        removal.restore_batch(batch=batch, **_who(request))
    except NotNow as refused:
        messages.warning(request, str(refused))
        return redirect("batch-deleted-list")
    messages.success(request, "The batch is back, with all that it had.")
    return redirect("batch-detail", code=batch.public_id)


@require_POST
@login_required
def batch_remove(request: HttpRequest, code: str) -> HttpResponse:
    """Remove a deleted batch for good, now and not in 30 days."""
    batch = get_deleted_batch(request, code, right="batches:write")
    removal.remove_at_once(batch=batch, **_who(request))
    messages.success(
        request,
        f"“{title_of(batch)}” is being removed: its requests, answers and result files.",
    )
    return redirect("batch-deleted-list")


def must_be_typed(batch: Batch) -> bool:
    """Whether the batch is so large that its name must be typed."""
    return batch.total > TYPED_ABOVE


def names_of(batch: Batch) -> set[str]:
    """What may be typed for it: the name as it is shown, and the id."""
    return {title_of(batch).strip(), batch.public_id}


def _who(request: HttpRequest) -> dict[str, Any]:
    return {"user": person(request), "address": client_address(request)}
