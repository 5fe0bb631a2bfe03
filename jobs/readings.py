# SPDX-License-Identifier: Apache-2.0
"""Who read the answers and reports of a batch: lines for the audit log."""

from __future__ import annotations

import logging

from django.core.cache import cache

from batchsite.accounts.models import User
from batchsite.accounts.people import record

from .models import Batch

logger = logging.getLogger(__name__)
# Answers are read in many calls, and asked for again while the batch runs.
ONE_READING_SECONDS = 3600


def note(
    what: str, *, batch: Batch, reader: str, user: User | None, address: str | None
) -> None:
    """Record the action batch.`what`, once an hour for each batch and `reader`.

    A reader is a key or a person. Whoever begins in the middle is noted too. With a
    cache that is out of order each call is.
    """
    known = f"reading:{what}:{batch.public_id}:{reader}"
    try:
        if not cache.add(known, 1, timeout=ONE_READING_SECONDS):
            return
    except Exception:
        logger.warning("the cache does not say who reads", exc_info=True)
    record(
        action=f"batch.{what}",
        actor=user,
        team=batch.team,
        target=batch.public_id,
        address=address,
    )
