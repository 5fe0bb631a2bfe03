# SPDX-License-Identifier: Apache-2.0
"""Who gets in under /v1/ (T-10)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory

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
    api: APIClient,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
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
    monkeypatch.setattr("jobs.api.auth._remembered", {})
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


@pytest.mark.parametrize(
    ("scopes", "method", "path", "lacks"),
    [
        (["batches:write"], "get", "/v1/files", "files:read"),
        (["batches:write"], "post", "/v1/files", "files:write"),
        (["files:read"], "post", "/v1/files", "files:write"),
        (["files:read"], "delete", "/v1/files/file-x", "files:write"),
        (["files:write"], "get", "/v1/batches", "batches:read"),
        (["batches:read"], "post", "/v1/batches", "batches:write"),
        (["batches:read"], "post", "/v1/batches/batch_x/cancel", "batches:write"),
    ],
)
def test_a_missing_scope_is_named(
    owner: User, team: Team, scopes: list[str], method: str, path: str, lacks: str
) -> None:
    r = getattr(api_client(owner, team, scopes=scopes), method)(path)
    assert error_of(r) == (403, None, "insufficient_permissions")
    assert r.json()["error"]["message"].endswith(f"API key lacks: {lacks}.")


@pytest.mark.parametrize(
    ("scopes", "path"),
    [
        (["files:write"], "/v1/files"),
        (["batches:read"], "/v1/batches"),
        (["benchmarks:read"], "/v1/models"),
    ],
)
def test_write_includes_read_and_models_need_no_scope(
    owner: User, team: Team, scopes: list[str], path: str
) -> None:
    assert api_client(owner, team, scopes=scopes).get(path).status_code == 200


def test_scopes_give_nobody_more_than_the_role(viewer: User, team: Team) -> None:
    api = api_client(viewer, team, scopes=["files:write", "batches:write"])
    assert api.get("/v1/batches").status_code == 200
    r = api.post("/v1/batches")
    assert error_of(r) == (403, None, "insufficient_permissions")
    assert "Viewers of a team only read." in r.json()["error"]["message"]


def test_a_wrong_method_is_405_whatever_the_key_may(viewer: User, team: Team) -> None:
    api = api_client(viewer, team, scopes=["files:read"])
    for path in ("/v1/models", "/v1/batches"):
        assert api.delete(path).status_code == 405


def test_x_api_key_is_as_good_as_bearer(
    client: Client, owner: User, team: Team
) -> None:
    token = create_api_key(team=team, user=owner, name="test")
    for headers in (
        {"x-api-key": token},
        {"x-api-key": token, "authorization": f"Bearer {token}"},
        {"x-api-key": f" {token} ", "authorization": "Basic abc"},
    ):
        assert client.get("/v1/files", headers=headers).status_code == 200


def test_two_different_keys_are_refused(
    client: Client, owner: User, team: Team
) -> None:
    one, two = (create_api_key(team=team, user=owner, name=n) for n in "ab")
    headers = {"x-api-key": one, "authorization": f"Bearer {two}"}
    r = client.get("/v1/files", headers=headers)
    assert error_of(r) == REFUSED
    message = r.json()["error"]["message"]
    assert "different API keys" in message
    assert one not in message
    assert two not in message
    assert error_of(client.get("/v1/files", headers={"x-api-key": "no"})) == REFUSED


def test_a_view_without_a_scope_serves_nobody(owner: User, team: Team) -> None:
    @api_view(["GET"])
    def forgotten(request: Request) -> Response:
        return Response({})

    token = create_api_key(team=team, user=owner, name="test")
    request = APIRequestFactory().get("/", headers={"authorization": f"Bearer {token}"})
    with pytest.raises(ImproperlyConfigured, match=r"must say @scope"):
        forgotten(request)


@pytest.mark.parametrize("how", ["revoked", "expired", "inactive", "deleted"])
def test_a_remembered_key_that_ends_is_refused_at_once(
    api: APIClient, owner: User, how: str
) -> None:
    assert api.get("/v1/models").status_code == 200
    keys, past = ApiKey.objects.all(), timezone.now() - timedelta(seconds=1)
    match how:
        case "revoked":
            keys.update(revoked_at=past)
        case "expired":
            keys.update(expiry=past)
        case "inactive":
            User.objects.filter(pk=owner.pk).update(is_active=False)
        case "deleted":
            keys.delete()
    assert error_of(api.get("/v1/models")) == REFUSED


def test_what_belongs_to_a_key_is_read_once_a_second(
    api: APIClient, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.api.auth.REMEMBERED_SECONDS", 60)
    assert api.get("/v1/models")["x-ratelimit-limit-requests"] == "6000"
    Team.objects.update(requests_per_minute=50)
    assert api.get("/v1/models")["x-ratelimit-limit-requests"] == "6000"
    monkeypatch.setattr("jobs.api.auth.REMEMBERED_SECONDS", 0)
    assert api.get("/v1/models")["x-ratelimit-limit-requests"] == "50"


def test_what_the_person_of_a_remembered_key_may_do_counts_at_once(
    api: APIClient, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.api.auth.REMEMBERED_SECONDS", 60)

    def create() -> int:
        return api.post("/v1/batches", {}, format="json").status_code

    assert create() == 400
    Membership.objects.update(role="viewer")
    assert (create(), create()) == (403, 403)
    User.objects.filter(pk=owner.pk).update(is_staff=True)
    assert (create(), create()) == (400, 400)
    Membership.objects.all().delete()
    assert create() == 400
    User.objects.filter(pk=owner.pk).update(is_staff=False)
    assert (create(), api.get("/v1/models").status_code) == (401, 401)


def test_the_use_of_a_remembered_key_is_written_once_a_minute(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.api.auth.REMEMBERED_SECONDS", 60)
    api.get("/v1/models")
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(minutes=2))
    monkeypatch.setattr("jobs.api.auth._remembered", {})
    with CaptureQueriesContext(connection) as captured:
        for _ in range(3):
            api.get("/v1/models")
    assert sum(q["sql"].startswith("UPDATE") for q in captured) == 1


@pytest.mark.django_db(transaction=True)
def test_a_database_that_can_only_be_read_is_read(api: APIClient) -> None:
    on_sqlite = connection.vendor == "sqlite"
    name = "PRAGMA query_only" if on_sqlite else "SET default_transaction_read_only"
    with connection.cursor() as cursor:
        cursor.execute(f"{name} = on")
        try:
            r = api.get("/v1/models")
        finally:
            cursor.execute(f"{name} = off")
    assert r.status_code == 200
    assert ApiKey.objects.get().last_used_at is None


def test_keys_are_remembered_up_to_a_number(
    owner: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: dict[str, Any] = {}
    monkeypatch.setattr("jobs.api.auth._remembered", remembered)
    monkeypatch.setattr("jobs.api.auth.REMEMBERED_MOST", 2)
    clients = [api_client(owner, team) for _ in range(5)]
    for _ in range(2):
        assert {c.get("/v1/models").status_code for c in clients} == {200}
        assert len(remembered) <= 2
