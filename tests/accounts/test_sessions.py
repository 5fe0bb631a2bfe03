# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from batchsite.accounts import sessions
from jobs.chores import do_chore


def test_only_ended_sessions_go(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    Session.objects.create(session_key="runs", expire_date=now + timedelta(days=1))
    assert not sessions.any_ended()
    for number in range(5):
        Session.objects.create(
            session_key=f"ended-{number}", expire_date=now - timedelta(seconds=1)
        )
    assert sessions.any_ended()
    monkeypatch.setattr(sessions, "SLICE", 2)
    assert do_chore("ended sessions") == "5 ended sessions deleted"
    assert list(Session.objects.values_list("pk", flat=True)) == ["runs"]
