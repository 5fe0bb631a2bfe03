# SPDX-License-Identifier: Apache-2.0
"""Lines of the audit log about what is curated."""

from __future__ import annotations

from typing import Any

from batchsite.accounts.models import User
from batchsite.accounts.people import record

from .models import Dataset, ReviewQueue, Rubric


def note(
    action: str,
    about: Rubric | ReviewQueue | Dataset,
    user: User | None,
    address: str | None,
    **facts: Any,
) -> None:
    """Append one line; `facts` must be JSON."""
    record(
        action=action,
        actor=user,
        team=about.team,
        target=about.public_id,
        address=address,
        **facts,
    )
