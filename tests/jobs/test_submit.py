# SPDX-License-Identifier: Apache-2.0
"""What is done with batches, whoever asks."""

from __future__ import annotations

import pytest
from django_q.models import OrmQ

from batchsite.accounts.models import AuditEvent, Team, User
from jobs.file_store import delete_file
from jobs.lifecycle import CannotCancel
from jobs.models import Batch
from jobs.submit import cancel_batch, create_batch
from tests.conftest import MakeBatch, MakeFile


def test_a_new_batch_waits_for_a_worker_that_was_woken(
    team: Team, owner: User, make_file: MakeFile
) -> None:
    file = make_file()
    batch = create_batch(
        team=team,
        user=owner,
        input_file_id=file.public_id,
        endpoint="/v1/embeddings",
        metadata={"k": "v"},
        output_expires_after=7200,
        dedupe=False,
    )
    batch.refresh_from_db()
    assert (batch.status, batch.input_file) == ("validating", file)
    assert (batch.expires_at - batch.created_at).total_seconds() == 86_400
    assert (batch.output_expires_after, batch.dedupe) == (7200, False)
    event = batch.events.get()
    assert (event.kind, event.old_status, event.new_status) == (
        "status",
        "",
        "validating",
    )
    poke = OrmQ.objects.get()
    assert poke.func() == "jobs.tasks.attend_stage"
    assert poke.task["args"] == (batch.pk,)


@pytest.mark.parametrize("ref", ["file-none", "foreign", "deleted", "x" * 100])
def test_a_batch_without_its_file_is_made_all_the_same(
    team: Team, other_team: Team, owner: User, make_file: MakeFile, ref: str
) -> None:
    if ref == "foreign":
        ref = make_file(team=other_team).public_id
    if ref == "deleted":
        file = make_file()
        delete_file(file=file, user=owner)
        ref = file.public_id
    batch = create_batch(
        team=team, user=owner, input_file_id=ref, endpoint="/v1/embeddings"
    )
    assert (batch.status, batch.input_file) == ("validating", None)
    assert batch.input_file_ref == ref


def test_cancel_is_idempotent_and_wakes_a_worker(
    make_batch: MakeBatch, owner: User
) -> None:
    batch = make_batch(status="in_progress")
    assert cancel_batch(batch=batch, user=owner).status == "cancelling"
    assert cancel_batch(batch=batch, user=owner).status == "cancelling"
    event = batch.events.get()
    assert event.message == "asked for by owner@example.com"
    assert AuditEvent.objects.get(action="batch.cancel").target == batch.public_id
    assert OrmQ.objects.count() == 1


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "finalizing"])
def test_cancel_is_too_late_in(make_batch: MakeBatch, owner: User, status: str) -> None:
    batch = make_batch(status=status)
    with pytest.raises(CannotCancel, match=f"with status '{status}'"):
        cancel_batch(batch=batch, user=owner)
    assert Batch.objects.get().status == status
    assert not AuditEvent.objects.filter(action="batch.cancel").exists()
