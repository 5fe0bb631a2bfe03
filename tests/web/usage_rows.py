# SPDX-License-Identifier: Apache-2.0
"""Usage of past weeks, as the chore and the samples leave it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from batchsite.accounts.models import Team, User
from jobs.failures import hour_of
from jobs.models import Usage

# A Wednesday.
NOW = datetime(2026, 3, 11, 15, 30, tzinfo=UTC)


def used(
    team: Team, user: User | None, *, at: datetime = NOW, rows: int = 10, **over: Any
) -> Usage:
    """What that many requests used in the hour of `at`."""
    figures = {
        "answered": rows - rows // 10,
        "failed": rows // 10,
        "input_tokens": 100 * rows,
        "cached_tokens": 40 * rows,
        "output_tokens": 50 * rows,
        "engine_seconds": 36.0 * rows,
    }
    columns = {"team": team, "user": user, "model": "tiny", "hour": hour_of(at)}
    return Usage.objects.create(**columns | figures | over)


def some_weeks(team: Team, users: list[User], *, now: datetime) -> None:
    """Weeks of people with several models, more than there are colours."""
    for week in range(12):
        for number in range(7):
            used(
                team,
                [*users, None][(week + number) % (len(users) + 1)],
                at=now - timedelta(weeks=week),
                rows=100 * (13 - week) // (number + 1) + 7 * (week * number % 5),
                model=["tiny", "", *(f"model-{n}" for n in range(6))][number],
            )
