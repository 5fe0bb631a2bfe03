# SPDX-License-Identifier: Apache-2.0
"""What curation shows on pages of others: the first page, and a batch's own."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from batchsite.accounts import permissions
from batchsite.accounts.models import User
from curation import standing
from curation.models import Feed, ReviewItem, ReviewQueue, Rework
from jobs.access import get_batch, person
from jobs.extensions import Panel
from jobs.web import detail
from jobs.web.conditional import page

from .access import WRITE

SHOWN = 5
KEPT_SECONDS = 20
FEEDS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A queue on the first page; `mine`: the person can judge something there."""

    code: str
    name: str
    done: int
    total: int
    disputed: int
    flagged: int
    mine: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """The person's queues with something left to do."""

    rows: tuple[Row, ...]


def home_panel(user: User) -> Panel | None:
    """The newest queues with something left; None without any. Read once in a while."""
    key = f"curation:home:{user.pk}"
    rows: tuple[Row, ...] | None = cache.get(key)
    if rows is None:
        rows = _rows(user)
        cache.set(key, rows, KEPT_SECONDS)
    return Panel("curation/_home_panel.html", Rows(rows)) if rows else None


def _rows(user: User) -> tuple[Row, ...]:
    active = ReviewQueue.objects.visible_to(user).filter(state=ReviewQueue.State.ACTIVE)
    queues = list(active.order_by("-pk")[: 4 * SHOWN])
    rows = ReviewItem.objects.filter(queue__in=queues, flagged=True).order_by()
    flagged = dict(rows.values_list("queue").annotate(Count("pk")))
    counts = standing.of_all(queues)
    curates = set(permissions.teams_where(user, WRITE).values_list("pk", flat=True))
    found = [
        Row(
            queue.public_id,
            queue.name,
            counts[queue.pk].done,
            counts[queue.pk].total,
            counts[queue.pk].disputed,
            flagged.get(queue.pk, 0),
            queue.team_id in curates and counts[queue.pk].waiting > 0,
        )
        for queue in queues
        if counts[queue.pk].waiting or counts[queue.pk].disputed
    ]
    return tuple(found[:SHOWN])


@require_safe
@login_required
def batch_review(request: HttpRequest, code: str) -> HttpResponse:
    """The queues that judge this batch's answers, and what ran again for one."""
    batch = get_batch(request, code)
    user = person(request)
    feeds = Feed.objects.filter(Q(batch=batch) | Q(beside=batch)).distinct()
    queues = list(
        ReviewQueue.objects.visible_to(user)
        .filter(Q(feeds__in=feeds) | Q(items__versions__candidates__batch=batch))
        .distinct()
        .order_by("-pk")[:FEEDS]
    )
    counts = standing.of_all(queues)
    ctx = detail.tab_context(request, batch, tab="review") | {
        "queues": [(queue, counts[queue.pk]) for queue in queues],
        "feeds": list(feeds.select_related("queue").order_by("-pk")[:FEEDS]),
        "rework": Rework.objects.filter(batch=batch).select_related("queue").first(),
        "curates": permissions.user_may(user, batch.team, WRITE),
    }
    return page(request, "curation/batch_review.html", ctx)
