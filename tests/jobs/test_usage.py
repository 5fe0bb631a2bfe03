# SPDX-License-Identifier: Apache-2.0
"""What is counted of batches, hour by hour: nothing twice, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F, Sum
from django.utils import timezone

from batchsite.accounts.models import Team, User
from jobs import usage
from jobs.chores import do_chore
from jobs.failures import hour_of
from jobs.models import Batch, ThroughputSample, Usage, UsageMark
from tests.conftest import MakeBatch

from .rows import external_engine

pytestmark = pytest.mark.django_db


def grow(batch: Batch, rows: int, *, failed: int = 0) -> None:
    """As the writer does it, without the results."""
    Batch.objects.filter(pk=batch.pk).update(
        completed=F("completed") + rows - failed,
        failed=F("failed") + failed,
        result_seq=F("result_seq") + rows,
        input_tokens=F("input_tokens") + 10 * rows,
        cached_tokens=F("cached_tokens") + 4 * rows,
        output_tokens=F("output_tokens") + 5 * rows,
    )


def sums() -> dict[str, Any]:
    return Usage.objects.aggregate(**{name: Sum(name) for name in usage.COUNTERS})


@pytest.fixture
def batch(make_batch: MakeBatch) -> Batch:
    return make_batch(status=Batch.Status.IN_PROGRESS, total=1000, model="tiny")


def test_what_a_batch_counted_is_added_once(batch: Batch, owner: User) -> None:
    grow(batch, 7, failed=2)
    assert do_chore("usage") == "the usage of 1 batches counted"
    assert not usage.wanted()
    grow(batch, 3)
    assert usage.wanted()

    assert usage.run() == "the usage of 1 batches counted"
    assert usage.run() == "the usage of 0 batches counted"

    only = Usage.objects.get()
    assert (only.team, only.user, only.model) == (batch.team, owner, "tiny")
    assert only.hour == hour_of(timezone.now())
    assert sums() == {
        "answered": 8,
        "failed": 2,
        "input_tokens": 100,
        "cached_tokens": 40,
        "output_tokens": 50,
    }


def test_an_ended_batch_is_looked_at_no_more(make_batch: MakeBatch) -> None:
    ended = make_batch(status=Batch.Status.COMPLETED, completed=4)
    nothing = make_batch(status=Batch.Status.FAILED)

    usage.run()

    assert sums()["answered"] == 4
    assert not Batch.objects.filter(usage_open=True).exists()
    assert not usage.wanted()
    # Its row remains, whoever else was about to count it.
    assert set(UsageMark.objects.values_list("batch", flat=True)) == {
        ended.pk,
        nothing.pk,
    }
    usage.count_up(ended.pk)
    assert sums()["answered"] == 4


def before(statement: str, act: Callable[[], object]) -> AbstractContextManager[None]:
    """Do something else once, right before a statement that begins so."""
    done: list[bool] = []

    def execute(
        send: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if sql.startswith(statement) and not done:
            done.append(True)
            act()
        return send(sql, params, many, context)

    return connection.execute_wrapper(execute)


def test_the_slower_of_two_workers_adds_nothing(batch: Batch) -> None:
    grow(batch, 5)

    with before('UPDATE "jobs_usagemark"', lambda: usage.count_up(batch.pk)):
        assert not usage.count_up(batch.pk)

    assert sums()["answered"] == 5


def test_a_killed_process_has_moved_neither_mark_nor_usage(batch: Batch) -> None:
    grow(batch, 5)

    def killed() -> None:
        raise SystemExit

    with before('INSERT INTO "jobs_usage"', killed), pytest.raises(SystemExit):
        usage.count_up(batch.pk)

    assert not Usage.objects.exists()
    assert not UsageMark.objects.exists()
    assert usage.count_up(batch.pk)
    assert sums()["answered"] == 5


def by_hour() -> dict[datetime, int]:
    return dict(Usage.objects.order_by("hour").values_list("hour", "answered"))


def test_after_a_silence_samples_say_when(batch: Batch) -> None:
    now = timezone.now()
    then = hour_of(now) - timedelta(hours=30)
    Batch.objects.filter(pk=batch.pk).update(in_progress_at=then, created_at=then)
    engine = external_engine()
    for hours, rows in ((1, 2), (2, 1)):
        ThroughputSample.objects.create(
            batch=batch,
            engine=engine,
            at=then + timedelta(hours=hours),
            seconds=600,
            rows=rows,
            input_tokens=0,
            output_tokens=0,
        )
    grow(batch, 100)

    usage.run()

    assert by_hour() == {
        then + timedelta(hours=1): 66,
        then + timedelta(hours=2): 34,
    }


def test_of_an_old_batch_without_samples_the_time_is_even(
    make_batch: MakeBatch,
) -> None:
    end = hour_of(timezone.now()) - timedelta(days=40)
    make_batch(
        status=Batch.Status.COMPLETED,
        completed=100,
        created_at=end - timedelta(hours=3),
        in_progress_at=end - timedelta(minutes=90),
        closed_at=end,
    )

    usage.run()

    assert by_hour() == {
        end - timedelta(hours=2): 33,
        end - timedelta(hours=1): 67,
    }


def test_what_comes_after_a_pause_is_not_of_the_pause(batch: Batch) -> None:
    grow(batch, 1)
    usage.run()
    now = timezone.now()
    Usage.objects.all().delete()
    UsageMark.objects.update(counted_at=now - timedelta(days=3))
    grow(batch, 9)

    usage.run()

    assert by_hour() == {hour_of(now): 9}


def test_usage_outlives_people_and_batches(batch: Batch, team: Team) -> None:
    others = [User.objects.create_user(f"{n}@example.com") for n in range(2)]
    for user in others:
        Batch.objects.filter(pk=batch.pk).update(owner=user)
        grow(batch, 1)
        usage.run()
        user.delete()
    grow(batch, 1)
    usage.run()
    batch.delete()

    assert sums()["answered"] == 3
    assert set(Usage.objects.values_list("user", flat=True)) == {None}


def test_engine_time_is_the_owner_s_and_the_model_s(batch: Batch, owner: User) -> None:
    whose = usage.Whose(batch.team_id, owner.pk, "tiny")
    nobody = usage.Whose(batch.team_id, None, "")

    for _ in range(2):
        usage.add_engine_seconds({whose: 4.5, nobody: 1.0})

    assert dict(Usage.objects.values_list("model", "engine_seconds")) == {
        "tiny": 9.0,
        "": 2.0,
    }
