# SPDX-License-Identifier: Apache-2.0
"""What connections to PostgreSQL are told, so that a lost network is noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.site import ROOT

READ = "import json; from batchsite.settings import DATABASES; print(json.dumps(DATABASES['default']['OPTIONS']))"


def options_of(url: str, folder: Path) -> dict[str, Any]:
    """OPTIONS of a process that is given this DATABASE_URL."""
    done = subprocess.run(
        [sys.executable, "-c", READ],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url, "BATCHSITE_DATA": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_both_sides_of_a_connection_notice_a_lost_network(tmp_path: Path) -> None:
    found = options_of("postgres://u@db.internal/x", tmp_path)
    assert found["connect_timeout"] == 10
    assert found["keepalives_idle"] == 10
    assert found["tcp_user_timeout"] == 20_000
    assert "-c tcp_user_timeout=20s" in found["options"]


def test_the_address_has_the_last_word(tmp_path: Path) -> None:
    url = "postgres://u@db.internal/x?tcp_user_timeout=60000&sslmode=require"
    found = options_of(url, tmp_path)
    assert found["tcp_user_timeout"] == 60_000
    assert found["sslmode"] == "require"
    assert found["connect_timeout"] == 10


@pytest.mark.django_db
def test_the_server_takes_what_it_is_told() -> None:
    if connection.vendor != "postgresql":
        # SQLite's are in its file, and no network is between.
        assert "tcp_user_timeout" not in connection.settings_dict["OPTIONS"]
        return
    with connection.cursor() as cursor:
        for name, value in (
            ("tcp_user_timeout", "20000"),
            ("tcp_keepalives_idle", "10"),
        ):
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchone() == (value,)
