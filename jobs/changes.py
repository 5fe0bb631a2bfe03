# SPDX-License-Identifier: Apache-2.0
"""Changing a batch after its creation: names, order, pause, deadline.

Each change is a conditional UPDATE and its BatchEvent in one transaction; it never
touches the status.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from batchsite.accounts.models import User
from batchsite.accounts.people import record

from .models import Batch, BatchEvent, Chunk
from .refusals import NotNow, Refused
from .tasks import poke_engines

# While a batch is in one of these, its order, pause and deadline mean something.
RUNS = (Batch.Status.VALIDATING, Batch.Status.IN_PROGRESS)
DESCRIPTIONS = ("name", "tags", "metadata")
CHANGEABLE = frozenset({*DESCRIPTIONS, "priority", "paused"})


# Each change stays in the history: so many of one batch, then no more.
MOST_CHANGES = 1000
MOST_TAGS = 20
TAG_LENGTH = 50
KINDS = ("changed", "priority", "paused", "resumed", "deadline")


class TooLate(NotNow):
    """The batch is in a status in which this cannot be changed any more."""

    def __init__(self, what: str, status: str) -> None:
        super().__init__(f"Cannot change the {what} of a batch with status '{status}'.")


class TooOften(TooLate):
    """The batch was changed so often that its history takes no more."""

    def __init__(self) -> None:
        Exception.__init__(
            self,
            f"A batch can be changed {MOST_CHANGES:,} times, and this one has been; a"
            " paused one can still be resumed.",
        )


def update_batch(
    *,
    batch: Batch,
    user: User | None,
    address: str | None = None,
    expires_in_seconds: int | None = None,
    **changes: Any,
) -> Batch:
    """Change a batch; what stays as it is makes no event.

    `changes` are name, tags and metadata, at any time, and priority and paused while
    the batch is validating or in progress. `expires_in_seconds` counts from the
    batch's creation; it may be shorter than before but must lie ahead. A pause lets
    requests in flight end and starts no others; the deadline goes on.

    Raises TooLate, TooOften after 1,000 changes, or Refused for a deadline that has
    passed; then nothing changed.
    """
    if unknown := changes.keys() - CHANGEABLE:
        raise ValueError(f"No batch is changed in {', '.join(sorted(unknown))}.")
    if expires_in_seconds is not None:
        deadline = batch.created_at + timedelta(seconds=expires_in_seconds)
        if deadline <= timezone.now():
            raise Refused(
                "Invalid 'batchsite.expires_in_seconds': the time counts from the"
                " batch's creation, and would be over already.",
                param="batchsite.expires_in_seconds",
                code="invalid_value",
            )
        changes["expires_at"] = deadline
    with transaction.atomic():
        batches = Batch.objects.for_api().filter(pk=batch.pk)
        # Locks the row, so that the events tell each value that was replaced.
        batch = batches.select_for_update(of=("self",)).get()
        new = {k: value for k, value in changes.items() if getattr(batch, k) != value}
        if not new:
            return batch
        # Nobody shall find a batch that can only be cancelled.
        if new != {"paused": False}:
            _check_count(batch, len(new))
        _write(batch, new)
        events = [_event(batch, name, value, user) for name, value in new.items()]
        BatchEvent.objects.bulk_create(events)
        record(
            action="batch.update",
            actor=user,
            team=batch.team,
            target=batch.public_id,
            address=address,
            changed=sorted(new),
        )
        if new.get("paused") is False:
            waiting = Chunk.objects.filter(batch=batch).open()
            poke_engines(list(waiting.values_list("model", flat=True).distinct()))
    for name, value in new.items():
        setattr(batch, name, value)
    return batch


def add_tag(
    *, batch: Batch, tag: str, user: User | None, address: str | None = None
) -> Batch:
    """Give the batch one tag more, at any time; Refused for what is no tag, or too many."""
    tag = tag.strip()[:TAG_LENGTH]
    if not tag or "\0" in tag:
        raise Refused(f"Write a tag of 1 to {TAG_LENGTH} characters.")
    tags = [*batch.tags, *([] if tag in batch.tags else [tag])]
    if len(tags) > MOST_TAGS:
        raise Refused(f"A batch has at most {MOST_TAGS} tags.")
    return update_batch(batch=batch, user=user, address=address, tags=tags)


def _check_count(batch: Batch, more: int) -> None:
    """TooOften when the history has no room; call it with the batch's row locked."""
    made = BatchEvent.objects.filter(batch=batch, kind__in=KINDS).count()
    if made + more > MOST_CHANGES:
        raise TooOften


def _write(batch: Batch, new: dict[str, Any]) -> None:
    """The UPDATE; TooLate when the batch has left the statuses that some change needs."""
    rows = Batch.objects.filter(pk=batch.pk)
    bound = sorted(set(new).difference(DESCRIPTIONS))
    if bound:
        rows = rows.filter(status__in=RUNS, closed_at__isnull=True)
    if not rows.update(**new):
        words = {"expires_at": "deadline", "paused": "pause"}
        raise TooLate(words.get(bound[0], bound[0]), batch.status)


def _event(batch: Batch, name: str, value: Any, user: User | None) -> BatchEvent:
    """What the history says of one change.

    Tags and metadata may be long, and may be deleted for what they say: of them only
    the names of the changed keys stay.
    """
    by = f", asked for by {user}" if user else ""
    old = getattr(batch, name)
    data: dict[str, Any] | None = {"old": old, "new": value}
    if name == "paused":
        kind, words = ("paused" if value else "resumed"), ""
    elif name == "expires_at":
        kind, words = "deadline", f"{value:%Y-%m-%d %H:%M:%S} UTC"
        data = {"old": int(old.timestamp()), "new": int(value.timestamp())}
    elif name == "priority":
        kind, words = "priority", f"{old} to {value}"
    else:
        kind, words = "changed", name
    if name == "tags":
        data = None
    elif name == "metadata":
        data = {"keys": _changed_keys(old or {}, value or {})}
    return BatchEvent(
        batch=batch, kind=kind, message=f"{words}{by}".removeprefix(", "), data=data
    )


def _changed_keys(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """The keys that were added, removed or given another value."""
    return sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
