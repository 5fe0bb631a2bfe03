# SPDX-License-Identifier: Apache-2.0
"""What processes import at their start, and what of a request is on its log lines."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.test import Client

from tests.site import ROOT

WORKER = """
import sys, django
django.setup()
import jobs.management.commands.runworker
print(*sys.modules)
"""


def test_a_control_worker_imports_neither_pages_nor_an_http_client(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        cwd=ROOT,
        env={
            "DJANGO_SETTINGS_MODULE": "batchsite.settings",
            "BATCHSITE_DATA": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stdout.split())
    assert {"jobs.attendance", "jobs.models", "django_q.cluster"} <= imported
    ours = {"batchsite.urls", "jobs.admin", "jobs.api.batches"}
    assert not ours & imported
    assert not {"aiohttp", "jsonschema", "markdown_it", "numpy"} & imported


def test_the_checks_see_every_admin_class(monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.batch_admin import BatchAdmin

    monkeypatch.setattr(BatchAdmin, "list_display", ("no_such_thing",))
    assert [found.id for found in run_checks(tags=["admin"])] == ["admin.E108"]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The log as JSON, as it is written where nobody reads along."""
    import structlog

    from batchsite.logs import SHARED

    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)


@pytest.mark.django_db
def test_log_lines_have_the_request_and_the_address_that_is_known(
    client: Client, monkeypatch: pytest.MonkeyPatch, lines: io.StringIO
) -> None:
    def broken(token: str) -> str:
        raise RuntimeError("a bug")

    monkeypatch.setattr("jobs.api.auth.hash_token", broken)
    client.raise_request_exception = False
    answer = client.get(
        "/v1/batches",
        REMOTE_ADDR="192.0.2.1",
        # Which anybody can send; no proxy is trusted.
        headers={"x-forwarded-for": "203.0.113.9", "authorization": "Bearer sk-bs-1"},
    )
    assert answer.status_code == 500
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    [failed] = [line for line in told if line["event"] == "request_failed"]
    assert failed["ip"] == "192.0.2.1"
    assert failed["request_id"] == answer["x-request-id"]
    assert "a bug" in failed["exception"]
