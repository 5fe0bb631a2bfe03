# SPDX-License-Identifier: Apache-2.0
"""What a reviewer does with items: claim, keep, draft, submit, skip, flag, undo.

Each step locks the item's row and counts again under the lock, so that never more than
`needed` people are counted, however many ask at once. On SQLite, which has no row locks,
the transaction itself is the lock: it begins as a writer.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from batchsite.accounts.models import User
from batchsite.accounts.permissions import user_may
from jobs.models.engines import database_time
from jobs.refusals import NotForThem, NotNow
from jobs.row_checks.parameters import bad

from . import resolving
from .models import (
    Candidate,
    Claim,
    ItemVersion,
    Response,
    ReviewEvent,
    ReviewItem,
    ReviewQueue,
    Skip,
)
from .questions import read_answers

# Items that others take in the same moment: after so many the caller asks again.
TRIES = 20
REASON_LENGTH = 500
# What the person did last and may take back.
UNDONE = ("submitted", "skipped", "flagged")
UNDID = "undid_"
MOST_UNDONE = 200
# A tab that was left open is no work.
LONGEST_LOOK = 1800.0
State = ReviewItem.State


class NotOpen(NotNow):
    """The queue, or the item, takes no judgements just now; the message says why."""


class NotYours(NotForThem):
    """The person may not judge this; the message says why."""


class EnoughJudged(NotNow):
    """Enough others have judged it meanwhile; what was said is kept as a draft."""


class NothingToUndo(NotNow):
    """There is nothing that could be taken back; the message says why."""


@dataclass(frozen=True, slots=True)
class Work:
    """An item that a person holds, and what the person has said of it so far."""

    item: ReviewItem
    version: ItemVersion
    candidates: list[Candidate]
    response: Response

    @property
    def shown(self) -> list[Candidate]:
        """The candidates in the order in which this person sees them."""
        places = {candidate.place: candidate for candidate in self.candidates}
        return [places[place] for place in self.response.layout]


def may_review(queue: ReviewQueue, user: User) -> bool:
    """Whether the person is one of the queue's reviewers."""
    if not user_may(user, queue.team, "curation:write"):
        return False
    return not queue.assignees.exists() or queue.assignees.filter(pk=user.pk).exists()


def next_work(*, queue: ReviewQueue, user: User) -> Work | None:
    """The person's next item, held from now on; None when there is nothing left.

    What the person holds already comes first. NotOpen or NotYours.
    """
    _check_open(queue)
    if not may_review(queue, user):
        raise NotYours("You are not one of the reviewers of this queue.")
    held = _held(queue, user)
    if held is not None and (work := _take(held, user)):
        return work
    if _wants_gold(queue, user) and (gold := _gold(queue, user)):
        work = _take(gold, user)
        if work is not None:
            return work
    seen: list[int] = []
    for _ in range(TRIES):
        waiting = ReviewItem.objects.waiting(queue).filter(gold_text="")
        found = waiting.for_reviewer(user).exclude(pk__in=seen).first()
        if found is None:
            return None
        if work := _take(found, user):
            return work
        # Others hold all its places, or took the last one in this moment.
        seen.append(found.pk)
    return None


def open_item(*, item: ReviewItem, user: User) -> Work:
    """That very item, held from now on, for somebody who chose it.

    NotOpen, or NotYours for somebody who has skipped it, or when it is another one's.
    """
    queue = item.queue
    _check_open(queue)
    if not may_review(queue, user):
        raise NotYours("You are not one of the reviewers of this queue.")
    if item.assigned_to_id not in (None, user.pk):
        raise NotYours("This item is assigned to somebody else.")
    work = _take(item, user)
    if work is None:
        raise NotOpen("Others hold this item, or enough have judged it.")
    return work


def look_back(*, item: ReviewItem, user: User) -> Work:
    """What the person has said of the item, to be read or changed; it holds nothing.

    NotYours for somebody who never opened the item's newest version.
    """
    mine = Response.objects.filter(version=item.version_id, user=user)
    response = mine.select_related("version").first()
    if response is None:
        raise NotYours("You have not judged this item.")
    version = response.version
    return Work(item, version, list(version.candidates.all()), response)


def may_still_judge(item: ReviewItem, user: User) -> bool:
    """Whether the person may still judge the item: what would lead him is kept away."""
    if item.state not in (State.PENDING, State.IN_PROGRESS):
        return False
    said = Response.objects.submitted().filter(version=item.version_id, user=user)
    return may_review(item.queue, user) and not said.exists()


def beside(work: Work) -> tuple[ReviewItem | None, ReviewItem | None]:
    """The items that the person opened in the queue before this one, and after it."""
    opened = Response.objects.filter(
        user=work.response.user_id,
        version__item__queue=work.item.queue_id,
        version=F("version__item__version"),
    ).select_related("version__item")
    before = opened.filter(pk__lt=work.response.pk).order_by("-pk").first()
    after = opened.filter(pk__gt=work.response.pk).order_by("pk").first()
    return (
        before.version.item if before else None,
        after.version.item if after else None,
    )


def _check_open(queue: ReviewQueue) -> None:
    if queue.state != ReviewQueue.State.ACTIVE:
        raise NotOpen(f"This queue is {queue.state}.")


def _held(queue: ReviewQueue, user: User) -> ReviewItem | None:
    live = Claim.objects.live().filter(user=user, version__item__queue=queue)
    claim = live.order_by("pk").select_related("version__item").first()
    return claim.version.item if claim else None


def _wants_gold(queue: ReviewQueue, user: User) -> bool:
    """Whether the next item shall be one whose right answers are known.

    By chance, so that nobody can tell from the position; the same until it is answered.
    """
    if not queue.gold_rate:
        return False
    done = Response.objects.submitted().filter(user=user, version__item__queue=queue)
    chance = random.Random(f"{queue.pk}/{user.pk}/{done.count()}")  # noqa: S311 - no secret
    return chance.random() * 100 < queue.gold_rate


def _gold(queue: ReviewQueue, user: User) -> ReviewItem | None:
    gold = ReviewItem.objects.gold(queue).exclude(state=State.EXCLUDED)
    return gold.for_reviewer(user).first()


def _take(item: ReviewItem, user: User) -> Work | None:
    """Hold the item for the person, under its lock; None when there is no place left."""
    with transaction.atomic():
        locked = _lock(item)
        version = locked.version
        if version is None or not _is_open(locked):
            return None
        others = Claim.objects.live().filter(version=version).exclude(user=user)
        mine = Response.objects.filter(version=version, user=user).first()
        if mine is not None and mine.state == Response.State.SUBMITTED:
            return None
        if not locked.is_gold and locked.submitted + others.count() >= locked.needed:
            return None
        _hold(version, user, locked.queue.lock_minutes)
        if locked.state == State.PENDING:
            ReviewItem.objects.filter(pk=locked.pk).update(state=State.IN_PROGRESS)
            locked.state = State.IN_PROGRESS
        candidates = list(version.candidates.all())
        response = mine or _draft(version, user, candidates)
    return Work(locked, version, candidates, response)


def _lock(item: ReviewItem) -> ReviewItem:
    rows = ReviewItem.objects.select_related("queue", "version")
    return rows.select_for_update(of=("self",)).get(pk=item.pk)


def _is_open(item: ReviewItem) -> bool:
    return item.is_gold or item.state in (State.PENDING, State.IN_PROGRESS)


def _hold(version: ItemVersion, user: User, minutes: int) -> None:
    until = database_time(minutes * 60)
    claims = Claim.objects.filter(version=version, user=user)
    if not claims.update(expires_at=until):
        Claim.objects.create(
            version=version,
            user=user,
            # Replaced at once by the database's own clock.
            expires_at=timezone.now() + timedelta(minutes=minutes),
        )
        claims.update(expires_at=until)


def _draft(version: ItemVersion, user: User, candidates: list[Candidate]) -> Response:
    """An empty response; who sees several answers sees them in an order of his own."""
    places = [candidate.place for candidate in candidates]
    random.SystemRandom().shuffle(places)
    response, _ = Response.objects.get_or_create(
        version=version, user=user, defaults={"layout": places}
    )
    return response


def keep(*, version: ItemVersion, user: User) -> bool:
    """Hold the item for as long again; False when the claim had ended before."""
    minutes = version.item.queue.lock_minutes
    live = Claim.objects.live().filter(version=version, user=user)
    return bool(live.update(expires_at=database_time(minutes * 60)))


def release(*, version: ItemVersion, user: User) -> None:
    """Let others have it; what was drafted stays."""
    Claim.objects.filter(version=version, user=user).delete()


def save_draft(
    *, version: ItemVersion, user: User, answers: Any, seconds: float = 0.0
) -> Response:
    """Keep what was said so far; also when the claim has ended: nothing is lost.

    Refused for answers that fit no question. What was submitted stays as it is.
    """
    given = _read(version, answers, final=False)
    with transaction.atomic():
        _lock(version.item)
        response = _own(version, user)
        if response.state == Response.State.DRAFT:
            _write(response, given, seconds)
    return response


def submit(
    *, version: ItemVersion, user: User, answers: Any, seconds: float = 0.0
) -> Response:
    """Count the person's judgement, and resolve the item where its queue's rule does.

    EnoughJudged when others took the last place after the claim had ended: then it is
    kept as a draft. Submitting again changes the answers, as long as nobody resolved
    the item. Refused for answers that do not fit. NotOpen while the queue is paused, or
    when there is another version: then it is kept as a draft, too.
    """
    given = _read(version, answers, final=True)
    with transaction.atomic():
        item = _lock(version.item)
        response = _own(version, user)
        again = response.state == Response.State.SUBMITTED
        refused: NotOpen | EnoughJudged | None = _closed(item, version)
        if again and refused is None and resolving.is_decided(version):
            refused = NotOpen("This item is resolved; its judgements stay as they are.")
        if again and refused is not None:
            # What was submitted stays as it was.
            raise refused
        refused = refused or (None if again else _why_not(item, version, user))
        _write(response, given, seconds)
        if refused is None and not again:
            _count(item, response)
        if refused is None:
            _note(item, version, user, "changed" if again else "submitted")
            resolving.settle(item)
    if refused is not None:
        raise refused
    return response


def _closed(item: ReviewItem, version: ItemVersion) -> NotOpen | None:
    """Why nobody's judgement of the version counts just now; None when it does."""
    if item.queue.state != ReviewQueue.State.ACTIVE:
        return NotOpen(f"This queue is {item.queue.state}: what you said is kept.")
    if item.version_id != version.pk:
        return NotOpen(
            "This item has another version by now: what you said is kept with the old one."
        )
    return None


def _why_not(
    item: ReviewItem, version: ItemVersion, user: User
) -> EnoughJudged | NotOpen | None:
    """Why a first judgement is not counted; None when it is. Under the item's lock."""
    if item.state == State.EXCLUDED:
        return NotOpen(
            "This item was taken out of the queue; yours is kept as a draft."
        )
    if item.is_gold:
        return None
    if not _is_open(item):
        return EnoughJudged(
            "Enough others have judged this item meanwhile; yours is kept as a draft."
        )
    live = Claim.objects.live().filter(version=version)
    if live.filter(user=user).exists():
        return None
    if item.submitted + live.count() >= item.needed:
        return EnoughJudged(
            "You no longer held this item, and others have taken its places; what you"
            " said is kept as a draft."
        )
    return None


def _count(item: ReviewItem, response: Response) -> None:
    now = timezone.now()
    response.state, response.submitted_at = Response.State.SUBMITTED, now
    response.save(update_fields=["state", "submitted_at"])
    ReviewItem.objects.filter(pk=item.pk).update(submitted=F("submitted") + 1)
    item.submitted += 1
    Claim.objects.filter(version=response.version, user=response.user).delete()
    Skip.objects.filter(version=response.version, user=response.user).delete()


def _read(version: ItemVersion, answers: Any, *, final: bool) -> dict[str, Any]:
    questions = version.item.queue.rubric_version.questions
    several = version.candidates.count()
    return read_answers(questions, answers, final=final, candidates=several)


def _own(version: ItemVersion, user: User) -> Response:
    """The person's response to the version; NotYours for who never opened the item."""
    response = Response.objects.filter(version=version, user=user).first()
    if response is None:
        raise NotYours("Open the item first: you have not been given it.")
    return response


def _write(response: Response, answers: Mapping[str, Any], seconds: float) -> None:
    response.__dict__.pop("answers", None)
    response.answers_text = json.dumps(answers)
    response.seconds = min(max(seconds, response.seconds), LONGEST_LOOK)
    response.updated_at = timezone.now()
    response.save(update_fields=["answers_text", "seconds", "updated_at"])


def skip(*, version: ItemVersion, user: User, reason: str = "") -> None:
    """Never see this version again; it counts as no judgement, and others may have it."""
    if version.item.queue.skips == ReviewQueue.Skips.NONE:
        raise NotOpen("Items of this queue are not skipped; flag it instead.")
    with transaction.atomic():
        item = _lock(version.item)
        response = _own(version, user)
        if response.state == Response.State.SUBMITTED:
            raise NotOpen("You have judged this item; undo that first.")
        Skip.objects.get_or_create(
            version=version, user=user, defaults={"reason": _reason(reason)}
        )
        Claim.objects.filter(version=version, user=user).delete()
        _note(item, version, user, "skipped", reason)


def flag(*, version: ItemVersion, user: User, reason: str) -> None:
    """Mark the item for whoever looks after the queue; it stays until taken away."""
    reason = _reason(reason)
    if not reason:
        raise bad("reason", "say what is wrong with the item.", "empty_string")
    with transaction.atomic():
        item = _lock(version.item)
        ReviewItem.objects.filter(pk=item.pk).update(flagged=True, flag_reason=reason)
        _note(item, version, user, "flagged", reason)


def unflag(*, item: ReviewItem, user: User) -> None:
    """Take the mark away."""
    with transaction.atomic():
        locked = _lock(item)
        rows = ReviewItem.objects.filter(pk=locked.pk, flagged=True)
        if rows.update(flagged=False, flag_reason=""):
            _note(locked, locked.version, user, "unflagged")


def undo(*, queue: ReviewQueue, user: User) -> ItemVersion:
    """Take back what the person did last in this queue; the version that it is about.

    A judgement becomes a draft again and is not counted, a skipped item comes back,
    a flag goes. NothingToUndo.
    """
    with transaction.atomic():
        last = _last_done(queue, user)
        if last is None or last.version is None:
            raise NothingToUndo("There is nothing of yours to take back.")
        item, version = _lock(last.item), last.version
        if item.version_id != version.pk:
            raise NothingToUndo("The item has another version by now.")
        if last.kind == "submitted":
            _take_back(item, version, user)
        elif last.kind == "skipped":
            Skip.objects.filter(version=version, user=user).delete()
        else:
            rows = ReviewItem.objects.filter(pk=item.pk)
            rows.update(flagged=False, flag_reason="")
        _note(item, version, user, f"{UNDID}{last.kind}")
    return version


def _last_done(queue: ReviewQueue, user: User) -> ReviewEvent | None:
    """What the person did last and has not taken back."""
    events = ReviewEvent.objects.filter(user=user, item__queue=queue)
    taken_back = 0
    for event in events.order_by("-pk").select_related("item", "version")[:MOST_UNDONE]:
        if event.kind.startswith(UNDID):
            taken_back += 1
        elif event.kind in UNDONE:
            if not taken_back:
                return event
            taken_back -= 1
    return None


def _take_back(item: ReviewItem, version: ItemVersion, user: User) -> None:
    """Make the person's judgement a draft; under the item's lock."""
    if resolving.is_decided(version):
        raise NothingToUndo(
            "A person has resolved this item; ask for it to be reopened."
        )
    mine = Response.objects.submitted().filter(version=version, user=user)
    if not mine.update(state=Response.State.DRAFT, submitted_at=None):
        raise NothingToUndo("This judgement was taken back already.")
    resolving.reopen(item)
    ReviewItem.objects.filter(pk=item.pk).update(submitted=F("submitted") - 1)
    _hold(version, user, item.queue.lock_minutes)


def _reason(text: str) -> str:
    if "\0" in text:
        raise bad("reason", "the string has a NUL character.")
    return text.strip()[:REASON_LENGTH]


def _note(
    item: ReviewItem,
    version: ItemVersion | None,
    user: User | None,
    kind: str,
    message: str = "",
) -> None:
    ReviewEvent.objects.create(
        item=item,
        version=version,
        user=user,
        kind=kind,
        message=message.strip()[:REASON_LENGTH],
    )
