# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from jobs import lifecycle
from jobs.models import Batch, WebhookDelivery
from tests.conftest import MakeBatch

pytestmark = pytest.mark.django_db
Status = Batch.Status


def test_cancel_is_idempotent_and_leaves_one_event(make_batch: MakeBatch) -> None:
    batch = make_batch(status=Status.IN_PROGRESS, total=3)
    for _ in range(2):
        assert lifecycle.cancel(batch).status == Status.CANCELLING
    assert batch.cancelling_at is not None
    (event,) = batch.events.all()
    assert (event.old_status, event.new_status) == ("in_progress", "cancelling")


@pytest.mark.parametrize(
    "status", [Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.FINALIZING]
)
def test_what_is_over_cannot_be_cancelled(make_batch: MakeBatch, status: str) -> None:
    batch = make_batch(status=status)
    with pytest.raises(lifecycle.CannotCancel, match=f"with status '{status}'"):
        lifecycle.cancel(batch)
    batch.refresh_from_db()
    assert batch.status == status
    assert not batch.events.exists()


def test_the_loser_of_a_race_changes_nothing(make_batch: MakeBatch) -> None:
    batch = make_batch(status=Status.IN_PROGRESS)
    assert lifecycle.finalize(batch, epoch=0)
    assert not lifecycle.finalize(batch, epoch=0)
    assert not lifecycle.start(batch, epoch=0, total=9, model="x")
    batch.refresh_from_db()
    assert (batch.status, batch.total) == (Status.FINALIZING, 0)
    assert batch.events.count() == 1


def test_an_old_stage_owner_moves_nothing(make_batch: MakeBatch) -> None:
    batch = make_batch(stage_epoch=4)
    assert not lifecycle.start(batch, epoch=3, total=1, model="x")
    assert not lifecycle.fail(batch, epoch=3, errors={"data": []})
    assert lifecycle.start(batch, epoch=4, total=1, model="x")


def test_moves_outside_the_table_are_refused(make_batch: MakeBatch) -> None:
    with pytest.raises(ValueError, match="No batch moves"):
        lifecycle.move(make_batch(), Status.COMPLETED, Status.IN_PROGRESS)


def test_a_deadline_acts_only_before_finalizing(make_batch: MakeBatch) -> None:
    past = timezone.now() - timedelta(minutes=1)
    yesterday = past - timedelta(days=1)
    running = make_batch(
        status=Status.IN_PROGRESS, created_at=yesterday, expires_at=past
    )
    assert lifecycle.overrun(running)
    assert (running.status, running.closing_reason) == ("finalizing", "expired")
    done = make_batch(
        status=Status.FINALIZING,
        closing_reason="done",
        created_at=yesterday,
        expires_at=past,
    )
    assert not lifecycle.overrun(done)
    in_time = make_batch(status=Status.IN_PROGRESS)
    assert not lifecycle.overrun(in_time)


def test_a_final_status_puts_its_webhook_into_the_outbox(make_batch: MakeBatch) -> None:
    batch = make_batch(
        status=Status.FINALIZING,
        closing_reason="done",
        closed_at=timezone.now(),
        webhook_url="https://example.com/hook",
    )
    assert lifecycle.end(batch, epoch=0)
    delivery = WebhookDelivery.objects.get()
    assert '"type": "batch.completed"' in delivery.payload
    assert batch.public_id in delivery.payload


def test_a_cancel_that_meets_the_end_of_intake_is_not_refused(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch()
    move = lifecycle.move

    def started_meanwhile(given: Batch, old: str, *args: Any, **kwargs: Any) -> bool:
        if old == Status.VALIDATING:
            copy = Batch.objects.get(pk=given.pk)
            assert move(copy, old, Status.IN_PROGRESS, total=2, model="tiny")
        return move(given, old, *args, **kwargs)

    monkeypatch.setattr(lifecycle, "move", started_meanwhile)
    assert lifecycle.cancel(batch).status == Status.CANCELLING


def test_only_the_lifecycle_writes_a_batchs_status() -> None:
    root = Path(__file__).resolve().parents[2]
    written = re.compile(r"update\([^()]*\bstatus=|batch\.status = ")
    writers = {
        str(path.relative_to(root))
        for folder in ("jobs", "batchsite", "curation", "benchmarks")
        for path in (root / folder).rglob("*.py")
        if written.search(path.read_text())
    }
    # Uploads have a status too; what writes that knows no batches.
    assert not re.search(r"\bBatch\b", (root / "jobs/parts.py").read_text())
    assert writers - {"jobs/parts.py"} == {"jobs/lifecycle.py"}


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "running"},
        {"total": 1, "completed": 2, "result_seq": 2},
        {"total": 2, "completed": 1, "result_seq": 2},
        {"status": "completed"},
        {"status": "failed", "total": 1},
        {"stage_owner": "x"},
        {"closed_at": timezone.now()},
        {"closing_reason": "bored"},
        {"expires_at": timezone.now() - timedelta(days=9)},
    ],
)
def test_the_database_refuses_wrong_states(
    make_batch: MakeBatch, columns: dict[str, object]
) -> None:
    batch = make_batch()
    with pytest.raises(IntegrityError), transaction.atomic():
        Batch.objects.filter(pk=batch.pk).update(**columns)
