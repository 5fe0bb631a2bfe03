# SPDX-License-Identifier: Apache-2.0
"""Lines of the audit log about what a team has."""

from __future__ import annotations

from typing import Any, Protocol

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import record


class Owned(Protocol):
    """What has a team and a public id."""

    @property
    def team(self) -> Team:
        """Whose it is."""

    @property
    def public_id(self) -> str:
        """What it is called by."""


def note(
    action: str, about: Owned, user: User | None, address: str | None, **facts: Any
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
