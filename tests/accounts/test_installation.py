# SPDX-License-Identifier: Apache-2.0
"""A database belongs to one SECRET_KEY."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django_q.models import OrmQ
from pytest_django import Settings

from batchsite.accounts.installation import check_secret_key
from batchsite.accounts.models import Installation
from jobs.tasks import poke_stage


def test_the_first_key_is_taken_and_kept(db: None, settings: Settings) -> None:
    check_secret_key()
    check_secret_key()
    recorded = Installation.objects.get().key_fingerprint
    assert settings.SECRET_KEY not in recorded
    settings.SECRET_KEY = "another"
    with pytest.raises(CommandError, match="set up with another SECRET_KEY"):
        check_secret_key()
    assert Installation.objects.get().key_fingerprint == recorded


def test_a_new_key_is_adopted_on_request(db: None, settings: Settings) -> None:
    check_secret_key()
    poke_stage(1)
    settings.SECRET_KEY = "another"
    out = StringIO()
    call_command("adoptsecretkey", stdout=out)
    assert "now belongs" in out.getvalue()
    check_secret_key()
    # Wake-ups signed by the old key would only be refused.
    assert not OrmQ.objects.exists()
