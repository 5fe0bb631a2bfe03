# SPDX-License-Identifier: Apache-2.0
"""The cast of every test: two teams, their people, and makers of files and batches."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import ensure_member
from jobs.models import Batch, BatchFile
from tests.inputs import api_client, chat_lines

# A busy machine is no failure: no test is judged by the time that it takes.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")
pytest_plugins = [
    "tests.isolation",
    "tests.site",
    "tests.engine_process",
    "tests.require_all",
]
MakeBatch = Callable[..., Batch]
MakeFile = Callable[..., BatchFile]
CLOSED_BECAUSE = {
    Batch.Status.COMPLETED: Batch.ClosingReason.DONE,
    Batch.Status.EXPIRED: Batch.ClosingReason.EXPIRED,
    Batch.Status.CANCELLED: Batch.ClosingReason.CANCELLED,
}


@pytest.fixture
def team(db: None) -> Team:
    return Team.objects.create(name="Blue")


@pytest.fixture
def other_team(db: None) -> Team:
    return Team.objects.create(name="Green")


@pytest.fixture
def owner(team: Team) -> User:
    return ensure_member(team_name=team.name, email="owner@example.com").user


@pytest.fixture
def teammate(team: Team) -> User:
    """May submit, may not administer."""
    email = "teammate@example.com"
    return ensure_member(team_name=team.name, email=email, role="member").user


@pytest.fixture
def viewer(team: Team) -> User:
    """May only look."""
    email = "viewer@example.com"
    return ensure_member(team_name=team.name, email=email, role="viewer").user


@pytest.fixture
def stranger(other_team: Team) -> User:
    """Owns another team and must see nothing of the first."""
    return ensure_member(team_name=other_team.name, email="stranger@example.com").user


@pytest.fixture
def staff(db: None) -> User:
    return User.objects.create_superuser("staff@example.com")


@pytest.fixture
def api(owner: User, team: Team) -> APIClient:
    return api_client(owner, team)


@pytest.fixture
def make_file(team: Team) -> MakeFile:
    """Makes a BatchFile whose `content` is in the storage; other keywords are columns."""

    def make(content: bytes = b'{"a": 1}\n', **over: Any) -> BatchFile:
        name = default_storage.save(
            f"uploads/{secrets.token_hex(16)}", ContentFile(content)
        )
        columns: dict[str, Any] = {
            "team": team,
            "filename": "requests.jsonl",
            "purpose": "batch",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "storage_name": name,
        }
        return BatchFile.objects.create(**columns | over)

    return make


@pytest.fixture
def make_batch(team: Team, owner: User, make_file: MakeFile) -> MakeBatch:
    """Makes a Batch over a stored file of `rows` requests; other keywords are columns.

    The columns that a final `status` cannot be without are filled in.
    """

    def make(rows: int = 2, **over: Any) -> Batch:
        input_team = over.get("team", team)
        file = over.get("input_file") or make_file(chat_lines(rows), team=input_team)
        now = over.get("created_at", timezone.now())
        status = over.get("status", Batch.Status.VALIDATING)
        done = over.get("completed", 0) + over.get("failed", 0)
        columns: dict[str, Any] = {
            "team": team,
            "owner": owner,
            "endpoint": "/v1/chat/completions",
            "input_file": file,
            "input_file_ref": file.public_id,
            "created_at": now,
            "expires_at": now + timedelta(hours=24),
            "total": done,
            "result_seq": done,
        }
        if status in CLOSED_BECAUSE:
            columns |= {"closed_at": now, "closing_reason": CLOSED_BECAUSE[status]}
        if status == Batch.Status.FAILED:
            columns["errors"] = {"object": "list", "data": []}
        if status != Batch.Status.VALIDATING:
            columns[f"{status}_at"] = now
        return Batch.objects.create(**columns | over)

    return make


@pytest.fixture
def answered(make_batch: MakeBatch) -> Callable[..., Batch]:
    """Makes a batch in which these texts were answered."""
    from tests.web import rows

    def make(*texts: str, **over: Any) -> Batch:
        batch = make_batch(status="in_progress", total=len(texts), **over)
        rows.answer(batch, [rows.chat(text) for text in texts])
        return batch

    return make
