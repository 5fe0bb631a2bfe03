# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Self, TypeVar

from django.db import models

from batchsite.accounts.models import Team, User
from jobs.ids import may_be_id

Row = TypeVar("Row", bound=models.Model)


class OwnedQuerySet(models.QuerySet[Row]):
    """Rows with a team and a public id."""

    def visible_to_team(self, team: Team) -> Self:
        """What a key of the team may see."""
        return self.filter(team=team)

    def visible_to(self, user: User) -> Self:
        """Those of the user's teams; all for staff."""
        return self.filter(team__in=Team.objects.visible_to(user))

    def find(self, public_id: str) -> Row | None:
        """The row with that public id, or None."""
        return (
            self.filter(public_id=public_id).first() if may_be_id(public_id) else None
        )
