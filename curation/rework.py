# SPDX-License-Identifier: Apache-2.0
"""Items that were rejected run once more; what comes back is judged anew.

The child batch is one like others, with its lineage to the first one. When it has
ended, a chore makes each answer the newest version of its item; a killed one is gone on
with, and no answer becomes two versions.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from batchsite.accounts.models import User
from jobs import auditing, retry
from jobs.models import Batch, Result
from jobs.row_checks.parameters import bad

from .models import (
    Candidate,
    ItemVersion,
    ReviewEvent,
    ReviewItem,
    ReviewQueue,
    Rework,
)
from .queues import candidate_of

TURN_SECONDS = 45
READ_AT_ONCE = 200
MOST_ITEMS = 50_000
NOTE_LENGTH = 2000


def rework(
    *,
    queue: ReviewQueue,
    items: Sequence[ReviewItem],
    user: User | None,
    model: str | None = None,
    body: Mapping[str, Any] | None = None,
    system_prompt: str | None = None,
    note: str = "",
    address: str | None = None,
) -> list[Batch]:
    """Run the items' requests once more, changed as retry.prepared changes them.

    A child batch of each batch that they came from. Refused for a queue that compares
    answers, items of another queue or gold ones, and where a batch is gone.
    """
    if queue.kind != ReviewQueue.Kind.SINGLE:
        raise bad("queue", "only single answers are made anew.")
    if not 0 < len(items) <= MOST_ITEMS:
        raise bad("items", f"choose 1 to {MOST_ITEMS:,} items.")
    if any(item.queue_id != queue.pk or item.is_gold for item in items):
        raise bad("items", "they must be of this queue, and no gold items.")
    made = []
    for parent, some in _by_batch(items).items():
        with (
            retry.prepared(
                parent=parent,
                user=user,
                custom_ids=[version.custom_id for version in some],
                model=model,
                body=body,
                system_prompt=system_prompt,
                over={"name": f"Rework of {queue.name}"[:200]},
                address=address,
            ) as make,
            transaction.atomic(),
        ):
            batch = make()
            one = Rework.objects.create(
                queue=queue,
                batch=batch,
                created_by=user,
                note=note.replace("\0", "")[:NOTE_LENGTH],
            )
            one.items.set([version.item_id for version in some])
            ReviewEvent.objects.bulk_create(
                ReviewEvent(
                    item_id=version.item_id,
                    version=version,
                    user=user,
                    kind="reworked",
                    message=batch.public_id,
                )
                for version in some
            )
            facts = {"items": len(some), "batch": batch.public_id}
            auditing.note("queue.rework", queue, user, address, **facts)
        made.append(batch)
    return made


def _by_batch(items: Sequence[ReviewItem]) -> dict[Batch, list[ItemVersion]]:
    """The items' newest versions by the batch of their answer."""
    candidates = Candidate.objects.filter(
        version__in=[item.version_id for item in items]
    ).select_related("batch__team", "version")
    found: defaultdict[Batch, list[ItemVersion]] = defaultdict(list)
    for candidate in candidates.order_by("version_id"):
        if candidate.batch is None or candidate.batch.deleted_at is not None:
            why = f"the batch {candidate.batch_code} is deleted."
            raise bad("items", why)
        found[candidate.batch].append(candidate.version)
    return found


def wanted() -> bool:
    """Whether a child batch has ended whose answers are to come."""
    return Rework.objects.due().exists()


def run(*, seconds: float = TURN_SECONDS) -> str:
    """Put answers of ended child batches into their queues; stops after `seconds`."""
    end, count = time.monotonic() + seconds, 0
    for one in Rework.objects.due().select_related("queue", "batch")[:READ_AT_ONCE]:
        if time.monotonic() >= end:
            break
        count += _apply(one, end)
    return f"{count} items have a new version"


def _apply(one: Rework, end: float) -> int:
    """Make its answers versions; all of them done is noted."""
    todo = one.items.exclude(
        versions__candidates__batch_code=one.batch.public_id
    ).order_by("pk")
    count, after = 0, 0
    while found := list(
        todo.filter(pk__gt=after).select_related("version")[:READ_AT_ONCE]
    ):
        if time.monotonic() >= end:
            return count
        answers = _answers(one.batch, found)
        for item in found:
            assert item.version is not None
            result = answers.get(item.version.custom_id)
            if result is not None:
                count += add_version(item=item, result=result, why=_why(one))
        after = found[-1].pk
    Rework.objects.filter(pk=one.pk).update(applied_at=timezone.now())
    return count


def _why(one: Rework) -> str:
    return f"run once more, in {one.batch.public_id}"


def _answers(batch: Batch, items: Sequence[ReviewItem]) -> dict[str, Result]:
    ids = [item.version.custom_id for item in items if item.version is not None]
    found = Result.objects.filter(
        batch=batch, outcome=Result.Outcome.COMPLETED, request__custom_id__in=ids
    )
    return {
        result.request.custom_id: result
        for result in found.select_related("request", "batch")
    }


def add_version(*, item: ReviewItem, result: Result, why: str) -> bool:
    """Show this answer instead of the item's present one; it is judged anew.

    False when a version has it already. Judgements of the old one stay with it.
    """
    with transaction.atomic():
        locked = ReviewItem.objects.select_for_update().get(pk=item.pk)
        code = result.batch.public_id
        versions = locked.versions.order_by("-number")
        if versions.filter(candidates__batch_code=code).exists():
            return False
        newest = versions.first()
        version = ItemVersion.objects.create(
            item=locked,
            number=newest.number + 1 if newest else 1,
            custom_id=result.request.custom_id,
            endpoint=result.request.url,
            request_body=result.request.body,
            why=why,
        )
        candidate_of(version, 0, result).save(force_insert=True)
        ReviewItem.objects.filter(pk=locked.pk).update(
            version=version,
            submitted=0,
            state=ReviewItem.State.PENDING,
            closed_at=None,
        )
        ReviewEvent.objects.create(
            item=locked, version=version, kind="another_version", message=why
        )
    return True
