# SPDX-License-Identifier: Apache-2.0
"""What whoever looks after a queue does with its items, one or many at once.

Each item is changed under its lock, in a transaction of its own: many that are cut off
are done in part, and doing them again does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db import transaction
from django.utils import timezone

from batchsite.accounts.models import User
from batchsite.accounts.permissions import user_may
from jobs import auditing
from jobs.row_checks.parameters import bad

from . import resolving
from .models import (
    Claim,
    Resolution,
    Response,
    ReviewEvent,
    ReviewItem,
    ReviewQueue,
)

State = ReviewItem.State
PRIORITY = 1000
REASON_LENGTH = 500
Change = Callable[[ReviewItem], str | None]


def exclude(
    *,
    queue: ReviewQueue,
    items: Iterable[ReviewItem],
    user: User,
    reason: str = "",
    address: str | None = None,
) -> int:
    """Leave them out: nobody judges them, and no dataset has them. How many changed."""

    def change(item: ReviewItem) -> str | None:
        if item.state == State.EXCLUDED:
            return None
        Claim.objects.filter(version=item.version).delete()
        _write(item, state=State.EXCLUDED, closed_at=timezone.now())
        return reason

    return _each(queue, items, user, "excluded", change, address)


def include(
    *,
    queue: ReviewQueue,
    items: Iterable[ReviewItem],
    user: User,
    address: str | None = None,
) -> int:
    """Take them in again; what was said of them holds as before."""

    def change(item: ReviewItem) -> str | None:
        if item.state != State.EXCLUDED:
            return None
        _settle_anew(item)
        return ""

    return _each(queue, items, user, "included", change, address)


def assign(
    *,
    queue: ReviewQueue,
    items: Iterable[ReviewItem],
    user: User,
    to: User | None,
    address: str | None = None,
) -> int:
    """Only `to` judges them from now on; None: whoever comes. What others hold ends.

    Refused for somebody who may not curate in the team.
    """
    if to is not None and not user_may(to, queue.team, "curation:write"):
        raise bad("assigned_to", f"{to} may not curate in this team.")

    def change(item: ReviewItem) -> str | None:
        if item.assigned_to_id == (to.pk if to else None):
            return None
        _write(item, assigned_to=to)
        if to is not None:
            Claim.objects.filter(version=item.version).exclude(user=to).delete()
        return f"to {to}" if to else "to whoever comes"

    return _each(queue, items, user, "assigned", change, address)


def prioritise(
    *,
    queue: ReviewQueue,
    items: Iterable[ReviewItem],
    user: User,
    priority: int,
    address: str | None = None,
) -> int:
    """Higher ones are judged first; -1,000 to 1,000."""
    if abs(priority) > PRIORITY:
        raise bad("priority", f"expected {-PRIORITY:,} to {PRIORITY:,}.")

    def change(item: ReviewItem) -> str | None:
        if item.priority == priority:
            return None
        _write(item, priority=priority)
        return str(priority)

    return _each(queue, items, user, "prioritised", change, address)


def reopen(
    *,
    queue: ReviewQueue,
    items: Iterable[ReviewItem],
    user: User,
    address: str | None = None,
) -> int:
    """Take decisions of people back; the queue's rule holds again, where it has one."""

    def change(item: ReviewItem) -> str | None:
        decided = Resolution.objects.filter(
            version=item.version, how=Resolution.How.PERSON
        )
        if not decided.delete()[0]:
            return None
        if item.state != State.EXCLUDED:
            _settle_anew(item)
        return ""

    return _each(queue, items, user, "reopened", change, address)


def make_gold(
    *,
    queue: ReviewQueue,
    items: Iterable[ReviewItem],
    user: User,
    address: str | None = None,
) -> int:
    """What holds of them are right answers from now on: they test reviewers.

    They leave the work and the datasets. Items of which nothing holds stay as they are.
    """

    def change(item: ReviewItem) -> str | None:
        held = Resolution.objects.filter(version=item.version).first()
        if item.is_gold or held is None or not held.answers:
            return None
        Claim.objects.filter(version=item.version).delete()
        _write(item, gold_text=held.answers_text, state=State.PENDING, closed_at=None)
        return ""

    return _each(queue, items, user, "made_gold", change, address)


def no_gold(
    *,
    queue: ReviewQueue,
    items: Iterable[ReviewItem],
    user: User,
    address: str | None = None,
) -> int:
    """They are items like others again; what was said of them holds."""

    def change(item: ReviewItem) -> str | None:
        if not item.is_gold:
            return None
        judged = Response.objects.submitted().filter(version=item.version).count()
        # As gold they may have been judged by more people than the queue asks for.
        _write(item, gold_text="", needed=max(item.needed, judged), submitted=judged)
        _settle_anew(item)
        return ""

    return _each(queue, items, user, "made_ordinary", change, address)


def decide_by_majority(
    *,
    queue: ReviewQueue,
    items: Iterable[ReviewItem],
    user: User,
    address: str | None = None,
) -> int:
    """Decide those that wait for a decision as most of their judgements say.

    By the person's word, as somebody chose to. Those without a majority stay.
    """
    count = 0
    for item in items:
        if item.state != State.AWAITING_RESOLUTION or item.queue_id != queue.pk:
            continue
        said = Response.objects.submitted().filter(version=item.version)
        votes = [resolving.Vote(response.answers) for response in said]
        answers = resolving.majority(queue.rubric_version.questions, votes)
        if answers is None:
            continue
        resolving.decide(item=item, user=user, answers=answers, note="by majority")
        count += 1
    if count:
        auditing.note("queue.decided", queue, user, address, items=count)
    return count


def _settle_anew(item: ReviewItem) -> None:
    """The state that its judgements give it."""
    kept = Resolution.objects.filter(version=item.version).first()
    if kept is not None and kept.how in (
        Resolution.How.PERSON,
        Resolution.How.IDENTICAL,
    ):
        _write(item, state=State.COMPLETED, closed_at=timezone.now())
        return
    resolving.settle(item)
    if item.submitted == 0 or item.is_gold:
        _write(item, state=State.PENDING, closed_at=None)


def _write(item: ReviewItem, **columns: Any) -> None:
    ReviewItem.objects.filter(pk=item.pk).update(**columns)
    for name, value in columns.items():
        setattr(item, name, value)


def _each(
    queue: ReviewQueue,
    items: Iterable[ReviewItem],
    user: User,
    kind: str,
    change: Change,
    address: str | None,
) -> int:
    """Change each that is the queue's; `change` gives the event's words, None for none."""
    count = 0
    for item in items:
        with transaction.atomic():
            rows = ReviewItem.objects.select_related("queue", "version")
            locked = rows.select_for_update(of=("self",)).get(pk=item.pk, queue=queue)
            words = change(locked)
            if words is None:
                continue
            ReviewEvent.objects.create(
                item=locked,
                version=locked.version,
                user=user,
                kind=kind,
                message=words.replace("\0", "").strip()[:REASON_LENGTH],
            )
        count += 1
    if count:
        auditing.note(f"queue.{kind}", queue, user, address, items=count)
    return count
