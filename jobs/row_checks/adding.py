# SPDX-License-Identifier: Apache-2.0
"""Giving a batch its checks: at its creation, and later."""

from __future__ import annotations

import json
from collections.abc import Sequence

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from batchsite.accounts.models import User
from batchsite.accounts.people import record
from jobs.models import Batch, BatchEvent, CheckRun, RowCheck
from jobs.tasks import poke_chore

from .definitions import Definition, check_size
from .following import CHORE
from .parameters import bad


def definitions_of(batch: Batch) -> list[Definition]:
    """The batch's checks as they were given."""
    if not batch.check_count:
        return []
    rows = RowCheck.objects.filter(batch=batch)
    return [Definition(row.name, row.kind, json.loads(row.params)) for row in rows]


def give(batch: Batch, checks: Sequence[Definition]) -> None:
    """The checks of a batch that has none, in the transaction that makes it."""
    if checks:
        _insert(batch, checks, first=0)
        CheckRun.objects.create(batch=batch)


def add(
    *,
    batch: Batch,
    checks: Sequence[Definition],
    user: User | None,
    address: str | None = None,
    param: str = "checks",
) -> list[Definition]:
    """Add checks to a batch, in any status; those that were not there already.

    They are put to all its results, from the first. Refused, with `param` as the
    field, for a name that another check of the batch has, or for too many checks.
    """
    with transaction.atomic():
        # Locks the row, so that two callers get positions after each other; not its
        # key, which outcomes refer to while their transaction holds the run.
        locked = Batch.objects.select_for_update(no_key=True).get(pk=batch.pk)
        batch.check_count = locked.check_count
        known = {check.name: check for check in definitions_of(batch)}
        for place, check in enumerate(checks):
            if known.get(check.name, check) != check:
                why = "the batch has another check of this name, and checks stay."
                raise bad(f"{param}[{place}].name", why)
        fresh = [check for check in checks if check.name not in known]
        if not fresh:
            return []
        check_size(param, [*known.values(), *fresh])
        _insert(batch, fresh, first=len(known))
        batch.check_count += len(fresh)
        batch.save(update_fields=["check_count"])
        # Another epoch: a slice that is under way knows nothing of these checks.
        runs = CheckRun.objects.filter(pk=batch.pk)
        if not runs.update(epoch=F("epoch") + 1, done=False, free_at=Now()):
            CheckRun.objects.create(batch=batch)
        _note(batch, fresh, user, address)
        poke_chore(CHORE)
    return fresh


def _insert(batch: Batch, checks: Sequence[Definition], *, first: int) -> None:
    RowCheck.objects.bulk_create(
        RowCheck(
            batch=batch,
            position=first + n,
            name=check.name,
            kind=check.kind,
            params=check.params_text,
        )
        for n, check in enumerate(checks)
    )


def _note(
    batch: Batch, checks: Sequence[Definition], user: User | None, address: str | None
) -> None:
    names = ", ".join(check.name for check in checks)
    by = f", asked for by {user}" if user else ""
    BatchEvent.objects.create(batch=batch, kind="checks_added", message=f"{names}{by}")
    record(
        action="batch.checks",
        actor=user,
        team=batch.team,
        target=batch.public_id,
        address=address,
        checks=[check.name for check in checks],
    )
