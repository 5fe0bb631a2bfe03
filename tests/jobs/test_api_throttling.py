# SPDX-License-Identifier: Apache-2.0
"""Calls a minute: of each key, and of each address with wrong keys."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from batchsite.accounts.models import ApiKey, Team, User
from jobs.api import throttling
from tests.inputs import api_client, error_of

LIMIT = "x-ratelimit-limit-requests"
REMAINING = "x-ratelimit-remaining-requests"
RESET = "x-ratelimit-reset-requests"


@pytest.fixture(autouse=True)
def one_minute(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A clock that stands 20 seconds before the end of a minute."""
    shown = {"now": 1_800_000_040.0}
    monkeypatch.setattr("jobs.api.throttling.clock", lambda: shown["now"])
    return shown


def test_every_answer_says_how_the_key_stands(api: APIClient) -> None:
    Team.objects.update(requests_per_minute=50)
    answers = [
        api.get("/v1/models"),
        api.get("/v1/files?limit=0"),
        api.get("/v1/batches/batch_none"),
        api.delete("/v1/batches"),
        api.post("/v1/batches", "{", content_type="application/json"),
        api.post("/v1/batches", "x", content_type="text/plain"),
    ]
    assert [r.status_code for r in answers] == [200, 400, 404, 405, 400, 415]
    for number, r in enumerate(answers, start=1):
        assert (r[LIMIT], r[REMAINING], r[RESET]) == ("50", str(50 - number), "20s")


def test_refused_calls_count_and_say_so_too(owner: User, team: Team) -> None:
    api = api_client(owner, team, scopes=["files:read"])
    r = api.get("/v1/batches")
    assert r.status_code == 403
    assert r[REMAINING] == str(int(r[LIMIT]) - 1)
    team.memberships.all().delete()
    assert LIMIT in api.get("/v1/files")


def test_a_mistake_of_ours_counts_too(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("jobs.api.models.model_object", broken)
    monkeypatch.setattr("jobs.api.models.ServedModel.objects.enabled", lambda: [1])
    r = api.get("/v1/models")
    assert r.status_code == 500
    assert REMAINING in r


def test_without_a_good_key_nothing_is_said(client: Client, db: None) -> None:
    for header in ({}, {"authorization": "Bearer wrong"}):
        assert LIMIT not in client.get("/v1/files", headers=header)
    assert LIMIT not in client.get("/login/")


def test_too_many_calls_are_answered_429_until_the_minute_is_over(
    api: APIClient, team: Team, owner: User, one_minute: dict[str, float]
) -> None:
    Team.objects.update(requests_per_minute=2)
    assert [api.get("/v1/models").status_code for _ in range(4)] == [200, 200, 429, 429]
    r = api.get("/v1/models")
    assert r["Retry-After"] == "20"
    assert (r[LIMIT], r[REMAINING], r[RESET]) == ("2", "0", "20s")
    error = r.json()["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert "Limit 2, Used 2, free 0. Please try again in 20s." in error["message"]
    # Another key of the same person has its own count.
    assert api_client(owner, team).get("/v1/models").status_code == 200
    one_minute["now"] += 20
    r = api.get("/v1/models")
    assert (r.status_code, r[REMAINING], r[RESET]) == (200, "1", "60s")


def test_a_team_without_a_limit_has_the_sites(
    api: APIClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The team is read with each call in place of once a second.
    monkeypatch.setattr("jobs.api.auth.REMEMBERED_SECONDS", 0)
    settings.BATCHSITE_REQUESTS_PER_MINUTE = 7
    assert api.get("/v1/models")[LIMIT] == "7"
    settings.BATCHSITE_REQUESTS_PER_MINUTE = 0
    assert LIMIT not in api.get("/v1/models")
    Team.objects.update(requests_per_minute=0)
    assert api.get("/v1/models").status_code == 429


def test_a_large_limit_is_taken_in_portions_and_never_passed(
    api: APIClient, one_minute: dict[str, float]
) -> None:
    Team.objects.update(requests_per_minute=300)
    codes = [api.get("/v1/models").status_code for _ in range(305)]
    assert codes == [200] * 300 + [429] * 5
    counter = f"calls:{ApiKey.objects.get().pk}:{int(one_minute['now'] // 60)}"
    assert caches["calls"].get(counter) == 306


def test_minutes_that_are_over_leave_nothing(
    api: APIClient, one_minute: dict[str, float], data_folder: Path
) -> None:
    for _ in range(5):
        api.get("/v1/models")
        one_minute["now"] += 60
    assert len(list((data_folder / "calls").iterdir())) == 1


def test_wrong_keys_of_an_address_are_limited_and_good_ones_served(
    client: Client, api: APIClient, settings: Settings
) -> None:
    settings.BATCHSITE_FAILED_KEYS_PER_MINUTE = 2

    def wrong(address: str) -> Any:
        headers = {"authorization": "Bearer wrong"}
        return client.get("/v1/files", headers=headers, REMOTE_ADDR=address)

    refused = (401, None, "invalid_api_key")
    assert [error_of(wrong("192.0.2.1")) for _ in range(2)] == [refused, refused]
    r = wrong("192.0.2.1")
    assert (r.status_code, r["Retry-After"]) == (429, "20")
    assert error_of(wrong("192.0.2.2")) == refused
    assert api.get("/v1/files", REMOTE_ADDR="192.0.2.1").status_code == 200
    settings.BATCHSITE_FAILED_KEYS_PER_MINUTE = 0
    assert error_of(wrong("192.0.2.1")) == refused


def test_a_network_of_ipv6_is_one_place(
    client: Client, db: None, settings: Settings
) -> None:
    settings.BATCHSITE_FAILED_KEYS_PER_MINUTE = 2

    def wrong(address: str) -> int:
        headers = {"authorization": "Bearer wrong"}
        return client.get("/v1/files", headers=headers, REMOTE_ADDR=address).status_code

    assert [wrong(f"2001:db8::{n}") for n in range(1, 4)] == [401, 401, 429]
    assert wrong("2001:db8:0:1::1") == 401
    mapped = [wrong(f"::ffff:192.0.2.{n}") for n in (1, 1, 2, 1)]
    assert mapped == [401, 401, 401, 429]
    assert wrong("192.0.2.1") == 429


def test_strangers_push_no_keys_number_out(
    client: Client, api: APIClient, settings: Settings
) -> None:
    Team.objects.update(requests_per_minute=2)
    options = {"MAX_ENTRIES": 5, "CULL_FREQUENCY": 0}
    settings.CACHES = settings.CACHES | {
        "failures": settings.CACHES["failures"] | {"OPTIONS": options}
    }
    assert [api.get("/v1/models").status_code for _ in range(2)] == [200, 200]
    for number in range(20):
        headers = {"authorization": "Bearer wrong"}
        client.get("/v1/models", headers=headers, REMOTE_ADDR=f"192.0.2.{number}")
    assert api.get("/v1/models").status_code == 429


def test_a_broken_cache_stops_nobody(
    api: APIClient, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {
        "calls": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }
    r = api.get("/v1/models")
    assert r.status_code == 200
    assert LIMIT not in r
    assert "calls_not_counted" in caplog.text


def test_nobody_is_counted_twice_or_left_out(data_folder: Path) -> None:
    """Files cannot add by themselves; threads stand here for processes as well."""
    numbers: list[int] = []

    def count() -> None:
        numbers.extend(
            throttling.add(caches["calls"], "calls:x", 1, 1) for _ in range(50)
        )

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(numbers) == list(range(1, 201))
