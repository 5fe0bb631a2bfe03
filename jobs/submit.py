# SPDX-License-Identifier: Apache-2.0
"""What the API and the browser do with batches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import record

from . import lifecycle, limits, row_checks
from .models import Batch, BatchEvent, BatchFile
from .refusals import Refused as Refused
from .tasks import poke_stage

WINDOW_SECONDS = 24 * 3600
# The life that a batch may ask for, in seconds after its creation.
SHORTEST_SECONDS = 3600
LONGEST_SECONDS = 2_592_000


def create_batch(
    *,
    team: Team,
    user: User | None,
    input_file_id: str,
    endpoint: str,
    completion_window: str = "24h",
    metadata: dict[str, str] | None = None,
    output_expires_after: int | None = None,
    dedupe: bool = True,
    name: str = "",
    tags: Sequence[str] = (),
    priority: int = 0,
    parent: Batch | None = None,
    derivation: dict[str, Any] | None = None,
    webhook_url: str = "",
    output_order: str = Batch.OutputOrder.INPUT,
    allow_mixed_models: bool = False,
    expires_in_seconds: int | None = None,
    paused: bool = False,
    checks: Sequence[row_checks.Definition] = (),
) -> Batch:
    """Make a batch in `validating` and wake a control worker for it.

    An input file that the team does not have makes a batch all the same: intake fails
    it and says why, as OpenAI does. `output_expires_after` is in seconds after the
    output file's creation; `expires_in_seconds` counts from now, and the team's own
    time or 24 hours stand in for it. `derivation` says how the input was made of
    `parent`'s. `checks` are put to its answers as they come. Raises limits.LimitReached when the team has no room for it.
    """
    now = timezone.now()
    file = BatchFile.objects.visible_to_team(team).find(input_file_id)
    life = expires_in_seconds or team.batch_seconds or WINDOW_SECONDS
    with transaction.atomic():
        limits.check_create(team=team, file=file)
        batch = Batch.objects.create(
            team=team,
            owner=user,
            name=name,
            tags=list(tags),
            priority=priority,
            dedupe=dedupe,
            parent=parent,
            derivation=derivation,
            webhook_url=webhook_url,
            output_order=output_order,
            allow_mixed_models=allow_mixed_models,
            paused=paused,
            check_count=len(checks),
            expected_requests=max(file.lines, 1) if file else 0,
            endpoint=endpoint,
            completion_window=completion_window,
            metadata=metadata,
            output_expires_after=output_expires_after,
            input_file_ref=input_file_id,
            input_file=file,
            created_at=now,
            expires_at=now + timedelta(seconds=life),
        )
        row_checks.give(batch, checks)
        BatchEvent.objects.create(
            batch=batch, kind="status", new_status=Batch.Status.VALIDATING
        )
        poke_stage(batch.pk)
    return batch


def cancel_batch(
    *, batch: Batch, user: User | None, address: str | None = None
) -> Batch:
    """Ask for the end of a batch and wake a control worker; repeating it is harmless.

    Raises lifecycle.CannotCancel when the batch has ended or is about to.
    """
    if batch.status in (Batch.Status.CANCELLING, Batch.Status.CANCELLED):
        return batch
    with transaction.atomic():
        batch = lifecycle.cancel(batch, message=f"asked for by {user}" if user else "")
        record(
            action="batch.cancel",
            actor=user,
            team=batch.team,
            target=batch.public_id,
            address=address,
        )
        poke_stage(batch.pk)
    return batch
