# SPDX-License-Identifier: Apache-2.0
"""The engine's row as its host sees it: readings that hold, and the token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from jobs import processes
from jobs.engines.hostrow import HostRow, NotAManagedEngine
from jobs.models import Engine, ServedModel

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

# --- reading the row


@pytest.mark.parametrize(
    "columns",
    [
        {"wanted_model_id": 1},
        {"paused": True},
        {"drained": True},
        {"gpu_ids": "3"},
        {"generation": 9},
    ],
)
def test_a_reading_holds_while_the_wishes_are_the_same(
    columns: dict[str, Any], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    ServedModel.objects.create(pk=1, name="tiny", source="org/tiny")
    row = HostRow("gpu0")
    assert not row.holds()
    row.read()
    with django_assert_num_queries(1):
        assert row.holds()
    Engine.objects.update(in_flight=7, gauges={"running": 7.0})
    assert row.holds()
    Engine.objects.update(**columns)
    assert not row.holds()
    row.read()
    assert row.holds()


def test_a_reading_holds_for_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    row = HostRow("gpu0")
    row.read()
    monkeypatch.setattr("jobs.engines.hostrow.READ_SECONDS", 0)
    assert not row.holds()


# --- the token


def test_token_is_free_when_nobody_holds_it_and_ours_again_after() -> None:
    row = HostRow("gpu0", gpu_ids="1")
    assert row.acquire() == ""
    assert row.acquire() == ""
    assert Engine.objects.get().gpu_ids == "1"
    row.release()
    assert Engine.objects.get().host_token == ""
    assert HostRow("gpu0").acquire() == ""
    assert Engine.objects.get().gpu_ids == "1"


def test_a_host_reserves_its_engine_only_where_it_is_told_to() -> None:
    for told, reserved in ((None, False), (True, True), (None, True), (False, False)):
        row = HostRow("gpu0", reserved=told)
        assert row.acquire() == ""
        assert Engine.objects.get().reserved is reserved
        row.release()


def test_token_of_a_living_holder_elsewhere_is_respected() -> None:
    row = HostRow("gpu0")
    Engine.objects.update(
        host_token="other-host/boot/4/77/1", host_heartbeat=timezone.now()
    )
    assert row.acquire() == "process 77 on other-host runs engine gpu0"
    Engine.objects.update(host_token="of an earlier form/77/1")
    assert row.acquire() == "of an earlier form/77/1 runs engine gpu0"
    Engine.objects.update(host_heartbeat=timezone.now() - timedelta(seconds=16))
    assert row.acquire() == ""


def test_token_of_a_process_that_is_gone_is_taken_at_once() -> None:
    row = HostRow("gpu0")
    gone = processes.token().rsplit("/", 2)[0] + f"/{2**22}/1"
    Engine.objects.update(host_token=gone, host_heartbeat=timezone.now())
    assert row.acquire() == ""


def test_external_engine_has_no_host() -> None:
    Engine.objects.create(name="lab", kind="external", base_url="http://127.0.0.1:1")
    with pytest.raises(NotAManagedEngine, match="external engine"):
        HostRow("lab")
