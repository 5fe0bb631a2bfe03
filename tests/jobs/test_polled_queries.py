# SPDX-License-Identifier: Apache-2.0
"""What is asked every few seconds, for ever, reads no batch that has ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import attendance, claims, stages, standing
from jobs.chores import CHORES
from jobs.webhooks import progress

pytestmark = pytest.mark.django_db
# The very conditions of the partial indexes, word by word: SQLite takes them for no other.
CONDITIONS = (
    "IN ('validating', 'in_progress', 'finalizing', 'cancelling')",
    "\"state\" = 'leased'",
    "\"state\" = 'pending'",
    'WHERE ("jobs_batch"."usage_open" AND',
    # No comparison is true of NULL, which both databases know.
    '"jobs_batch"."remove_at" <= ',
)
POLLED: dict[str, Callable[[], object]] = {
    "pokes": attendance.poke_waiting_batches,
    "shares": claims.team_load,
    "work": lambda: claims.claimable_work(["tiny"]),
    "anything": claims.anything_claimable,
    "stages": stages.free_dead_owners,
    "places": standing.take_look,
    "progress": lambda: list(progress._passed()),
    **{chore.name: chore.wanted for chore in CHORES},
}


@pytest.mark.parametrize("name", POLLED)
def test_ended_batches_are_not_read(name: str) -> None:
    with CaptureQueriesContext(connection) as captured:
        POLLED[name]()
    for query in captured:
        sql = query["sql"]
        if sql.partition(" FROM ")[2].startswith(('"jobs_batch"', '"jobs_chunk"')):
            assert any(condition in sql for condition in CONDITIONS)
