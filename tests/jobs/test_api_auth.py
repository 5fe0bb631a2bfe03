# SPDX-License-Identifier: Apache-2.0
"""Who gets in under /v1/ (T-10)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from batchsite.accounts.models import ApiKey, Membership, Team, User
from batchsite.accounts.people import create_api_key
from tests.inputs import api_client, error_of

REFUSED = (401, None, "invalid_api_key")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer wrong",
        "Bearer two words",
        "Bearer sk-bs-ÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿ",
        f"Bearer {'x' * 5000}",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("get", "/v1/files"), ("post", "/v1/batches"), ("get", "/v1/models/a/b")],
)
def test_no_key_no_entry(
    client: Client, db: None, header: str | None, method: str, path: str
) -> None:
    headers = {} if header is None else {"authorization": header}
    r = getattr(client, method)(path, headers=headers)
    assert error_of(r) == REFUSED
    assert r["WWW-Authenticate"] == "Bearer"


def test_a_wrong_key_is_never_echoed_whole(client: Client, db: None) -> None:
    token = "sk-bs-0123456789abcdefghijklmnop"
    r = client.get("/v1/files", headers={"authorization": f"Bearer {token}"})
    message = r.json()["error"]["message"]
    assert message == "Incorrect API key provided: sk-bs-01********mnop."
    r = client.get("/v1/files", headers={"authorization": "Bearer short-secret"})
    assert "short" not in r.json()["error"]["message"]


def test_the_scheme_may_be_written_anyhow_and_organization_headers_are_ignored(
    client: Client, owner: User, team: Team
) -> None:
    token = create_api_key(team=team, user=owner, name="test")
    headers = {
        "authorization": f"bearer  {token}",
        "openai-organization": "org-1",
        "openai-project": "proj_1",
    }
    assert client.get("/v1/files", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "column",
    [
        {"revoked_at": timezone.now()},
        {"expiry": timezone.now() - timedelta(seconds=1)},
    ],
)
def test_a_revoked_or_expired_key_is_refused_and_kept(
    api: APIClient, column: dict[str, Any]
) -> None:
    assert api.get("/v1/files").status_code == 200
    ApiKey.objects.update(**column)
    assert error_of(api.get("/v1/files")) == REFUSED
    assert ApiKey.objects.count() == 1


def test_a_key_with_time_left_works(owner: User, team: Team) -> None:
    api = api_client(owner, team, expiry=timedelta(hours=1))
    assert api.get("/v1/files").status_code == 200


def test_an_inactive_person_is_refused(api: APIClient, owner: User) -> None:
    owner.is_active = False
    owner.save(update_fields=["is_active"])
    assert error_of(api.get("/v1/files")) == REFUSED


def test_a_person_who_left_the_team_is_refused(api: APIClient, owner: User) -> None:
    Membership.objects.filter(user=owner).delete()
    for r in (api.get("/v1/files"), api.post("/v1/batches")):
        assert error_of(r) == REFUSED
        assert "not a member" in r.json()["error"]["message"]


def test_staff_need_no_membership(staff: User, team: Team) -> None:
    assert api_client(staff, team).get("/v1/files").status_code == 200


def test_a_session_is_no_key(client: Client, owner: User) -> None:
    client.force_login(owner)
    assert error_of(client.get("/v1/files")) == REFUSED


def test_last_use_is_written_once_a_minute(
    api: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    api.get("/v1/models", REMOTE_ADDR="192.0.2.7")
    key = ApiKey.objects.get()
    assert key.last_used_from == "192.0.2.7"
    first = key.last_used_at
    assert first is not None
    # the key with its person's role, the models: no write
    with django_assert_num_queries(2):
        api.get("/v1/models", REMOTE_ADDR="192.0.2.8")
    ApiKey.objects.update(last_used_at=first - timedelta(seconds=61))
    api.get("/v1/models", REMOTE_ADDR="192.0.2.8")
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert key.last_used_at > first
    assert key.last_used_from == "192.0.2.8"


@pytest.mark.parametrize(
    ("proxy", "forwarded", "expected"),
    [
        (False, "203.0.113.1", "192.0.2.7"),
        (True, "203.0.113.1, 198.51.100.2", "198.51.100.2"),
        (True, "2001:db8::1", "2001:db8::1"),
        (True, "nonsense", None),
    ],
)
def test_only_a_trusted_proxy_names_the_client(
    api: APIClient,
    settings: Settings,
    proxy: bool,
    forwarded: str,
    expected: str | None,
) -> None:
    settings.BATCHSITE_BEHIND_PROXY = proxy
    headers = {"x-forwarded-for": forwarded}
    api.get("/v1/files", headers=headers, REMOTE_ADDR="192.0.2.7")
    assert ApiKey.objects.get().last_used_from == expected
