# SPDX-License-Identifier: Apache-2.0
"""What curation shows on pages of others: the first page, and a batch's own."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from batchsite.accounts import permissions
from batchsite.accounts.models import User
from curation import standing
from curation.models import Candidate, Feed, ReviewItem, ReviewQueue, Rework
from jobs.access import get_batch, person
from jobs.extensions import Panel, Tile
from jobs.web import detail
from jobs.web.conditional import page

from .access import WRITE

SHOWN = 5
# Of more active queues the rest is not counted.
COUNTED = 100
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


@dataclass(frozen=True, slots=True)
class Found:
    """Of the person's active queues: how many items wait for somebody, and the rows of
    the newest with something left; `left` is None without a queue."""

    left: int | None
    rows: tuple[Row, ...]


def home_panel(user: User) -> Panel | None:
    """The newest queues with something left; None without any."""
    found = _found(user)
    if not found.rows:
        return None
    return Panel("curation/_home_panel.html", Rows(found.rows))


def home_tile(user: User) -> Tile | None:
    """How many items wait for a judgement or a decision; None without a queue."""
    left = _found(user).left
    return (
        None if left is None else Tile("awaiting review", left, reverse("queue-list"))
    )


def _found(user: User) -> Found:
    """Read once in a while."""
    key = f"curation:home:{user.pk}"
    found: Found | None = cache.get(key)
    if found is None:
        found = _read(user)
        cache.set(key, found, KEPT_SECONDS)
    return found


def _read(user: User) -> Found:
    active = ReviewQueue.objects.visible_to(user).filter(state=ReviewQueue.State.ACTIVE)
    queues = list(active.order_by("-pk")[:COUNTED])
    counts = standing.of_each(queues)
    left = sum(one.waiting + one.disputed for one in counts.values())
    unfinished = [
        queue
        for queue in queues
        if counts[queue.pk].waiting or counts[queue.pk].disputed
    ][:SHOWN]
    rows = ReviewItem.objects.filter(queue__in=unfinished, flagged=True).order_by()
    flagged = dict(rows.values_list("queue").annotate(Count("pk")))
    curates = set(permissions.teams_where(user, WRITE).values_list("pk", flat=True))
    return Found(
        left if queues else None,
        tuple(
            Row(
                queue.public_id,
                queue.name,
                counts[queue.pk].done,
                counts[queue.pk].total,
                counts[queue.pk].disputed,
                flagged.get(queue.pk, 0),
                queue.team_id in curates and counts[queue.pk].waiting > 0,
            )
            for queue in unfinished
        ),
    )


@require_safe
@login_required
def batch_review(request: HttpRequest, code: str) -> HttpResponse:
    """The queues that judge this batch's answers, and what ran again for one."""
    batch = get_batch(request, code)
    user = person(request)
    feeds = Feed.objects.filter(Q(batch=batch) | Q(beside=batch)).distinct()
    # Each by an index of its own: a queue may have a million items.
    judging = Candidate.objects.filter(batch=batch).values("version__item__queue")
    rows = ReviewQueue.objects.visible_to(user).filter(
        Q(pk__in=feeds.values("queue")) | Q(pk__in=judging)
    )
    queues = list(rows.order_by("-pk")[:FEEDS])
    counts = standing.of_all(queues)
    ctx = detail.tab_context(request, batch, tab="review") | {
        "queues": [(queue, counts[queue.pk]) for queue in queues],
        "feeds": list(feeds.select_related("queue").order_by("-pk")[:FEEDS]),
        "rework": Rework.objects.filter(batch=batch).select_related("queue").first(),
        "curates": permissions.user_may(user, batch.team, WRITE),
    }
    return page(request, "curation/batch_review.html", ctx)
