# SPDX-License-Identifier: Apache-2.0
"""Idempotency-Key: repeating a call that made a batch answers that batch.

Only calls that made a batch are kept: a refused one may be repeated with its key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from batchsite.accounts.models import Team

from .models import Batch, IdempotencyKey
from .refusals import Refused

KEY_LIFE = timedelta(hours=24)
KEY_LENGTH = 255
SWEPT_AT_ONCE = 1000


class KeyReused(Exception):
    """The key made another batch: the call differs from the first one with it."""


def fingerprint(path: str, body: Mapping[str, Any]) -> str:
    """SHA-256 as hex of what a call says; the order of the body's members is nothing."""
    text = json.dumps([path, dict(body)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def once(
    *, team: Team, key: str, fingerprint: str, make: Callable[[], Batch]
) -> tuple[Batch, bool]:
    """The batch of the team's key and whether it was there before; else make it.

    The key's row and the batch are one transaction, so that of parallel calls one
    makes a batch and the others answer it. Raises KeyReused, and whatever `make` does.
    """
    while True:
        if found := known(team=team, key=key, fingerprint=fingerprint):
            return found, True
        try:
            with transaction.atomic():
                batch = make()
                IdempotencyKey.objects.create(
                    team=team, key=key, fingerprint=fingerprint, batch=batch
                )
        except IntegrityError:
            # A parallel call was faster, and its transaction has ended by now.
            if not IdempotencyKey.objects.filter(team=team, key=key).exists():
                raise
        except Refused:
            # Perhaps because a parallel call's batch took the last place of a limit.
            if found := known(team=team, key=key, fingerprint=fingerprint):
                return found, True
            raise
        else:
            return batch, False


def known(*, team: Team, key: str, fingerprint: str) -> Batch | None:
    """The batch that the key made within its life, or None; KeyReused."""
    row = IdempotencyKey.objects.filter(team=team, key=key).first()
    if row is None:
        return None
    if row.created_at < timezone.now() - KEY_LIFE:
        row.delete()
        return None
    if row.fingerprint != fingerprint:
        raise KeyReused(key)
    return Batch.objects.for_api().get(pk=row.batch_id)


def has_old_keys() -> bool:
    """Whether a key's life is over."""
    return IdempotencyKey.objects.filter(
        created_at__lt=timezone.now() - KEY_LIFE
    ).exists()


def sweep() -> str:
    """Delete keys whose life is over, in slices."""
    count = 0
    old = IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEY_LIFE)
    while keys := list(old.values_list("pk", flat=True)[:SWEPT_AT_ONCE]):
        count += IdempotencyKey.objects.filter(pk__in=keys).delete()[0]
    return f"{count} keys"
