# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from django.db import DatabaseError, connection

from batchsite.accounts.models import Team
from jobs.kept_sql import kept_cursor
from jobs.models import Batch
from tests.conftest import MakeBatch

pytestmark = pytest.mark.django_db


def prepared() -> list[str]:
    """What PostgreSQL keeps a plan of in this connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [row[0] for row in cursor.fetchall()]


def test_what_clients_poll_is_planned_once(make_batch: MakeBatch, team: Team) -> None:
    batch = make_batch(metadata={"a": "b"}, tags=["x"])
    for _ in range(6):
        found = Batch.objects.find_in_team(team, batch.public_id)
        assert found == batch
    # The same values as by the usual way, JSON and times too.
    usual = Batch.objects.get(pk=batch.pk)
    assert found is not None
    assert found.__dict__ | {"_state": None} == usual.__dict__ | {"_state": None}
    assert Batch.objects.find_in_team(team, "batch_none") is None
    if connection.vendor == "postgresql":
        assert [one for one in prepared() if 'FROM "jobs_batch"' in one]


def test_kept_sql_fails_as_all_sql_does() -> None:
    with kept_cursor() as cursor, pytest.raises(DatabaseError):
        cursor.execute("SELECT no_such_column", [])


def test_nothing_is_kept_of_what_has_its_values_in_it(
    make_batch: MakeBatch, team: Team
) -> None:
    batch = make_batch()
    for number in range(10):
        Batch.objects.filter(pk=batch.pk).update(name=f"{number}" * 200)
        Batch.objects.find_in_team(team, batch.public_id)
    batch.refresh_from_db()
    assert batch.name == "9" * 200
    if connection.vendor == "postgresql":
        kept = connection.connection._prepared._counts
        assert not [query for query, _ in kept if b"9" * 200 in query]
