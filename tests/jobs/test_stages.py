# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection

from jobs import stages
from jobs.models import Batch, ServedModel
from tests.conftest import MakeBatch

pytestmark = pytest.mark.django_db


class Outage:
    """A database that refuses the next `count` statements, then ends the heartbeat."""

    def __init__(self, count: int, stop: threading.Event) -> None:
        self.count = count
        self.stop = stop

    def __call__(
        self, execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        self.count -= 1
        if self.count >= 0:
            raise OperationalError("the database is starting up")
        self.stop.set()
        return execute(sql, params, many, context)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("refused", "kept"), [(3, True), (10**6, False)])
def test_a_heartbeat_outlives_an_outage_shorter_than_the_lease(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch, refused: int, kept: bool
) -> None:
    batch = make_batch()
    lease = stages.take(batch)
    assert lease is not None
    monkeypatch.setattr(stages, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(stages, "STALE_SECONDS", 15 if kept else 0.2)
    stop = threading.Event()
    with connection.execute_wrapper(Outage(refused, stop)):
        lease.beat(stop)
    assert stop.is_set() is kept
    if kept:
        lease.check()
    else:
        with pytest.raises(stages.StageLost):
            lease.check()


def test_a_stage_that_raises_says_why_once(
    make_batch: MakeBatch, data_folder: Path
) -> None:
    ServedModel.objects.create(name="tiny")
    batch = make_batch()
    # The spool cannot be made where a file stands.
    (data_folder / "spool").write_bytes(b"")
    for _ in range(3):
        with pytest.raises(FileExistsError):
            stages.attend_batch(batch.pk)
    event = batch.events.get(kind="stage_failed")
    assert event.message.startswith("FileExistsError: [Errno 17]")
    batch.refresh_from_db()
    assert batch.stage_owner == ""
    (data_folder / "spool").unlink()
    stages.attend_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.status == Batch.Status.IN_PROGRESS


def test_reasons_that_differ_each_time_do_not_fill_the_history(
    make_batch: MakeBatch,
) -> None:
    batch = make_batch()
    for n in range(30):
        stages._tell_failure(batch, ValueError(f"no\0t \ud800 {n}"))
    messages = batch.events.filter(kind="stage_failed").values_list(
        "message", flat=True
    )
    assert len(messages) == stages.FAILURES_TOLD
    assert messages[0] == "ValueError: no\\u0000t \\ud800 0"
