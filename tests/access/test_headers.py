# SPDX-License-Identifier: Apache-2.0
"""Security headers, cookies and CSRF on pages and on the API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from batchsite.accounts.models import User
from tests.site import ROOT

EXPECTED = {
    "Content-Security-Policy": "base-uri 'none'; default-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; img-src 'self' data:; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


OF_THE_API = EXPECTED | {
    "Content-Security-Policy": "base-uri 'none'; default-src 'none'; form-action 'none';"
    " frame-ancestors 'none'"
}


def check(r: Any, expected: dict[str, str] = EXPECTED) -> None:
    """All security headers, and no feature of the browser allowed."""
    found = {name: r.headers.get(name) for name in expected}
    csp = found["Content-Security-Policy"] or ""
    found["Content-Security-Policy"] = "; ".join(sorted(csp.split("; ")))
    assert found == expected
    features = r["Permissions-Policy"].split(", ")
    assert len(features) >= 10
    assert all(feature.endswith("=()") for feature in features)


@pytest.mark.parametrize(
    "path",
    [
        "/login/",
        "/batches/",
        "/engines/",
        "/batches/batch_none/",
        "/no-such-page/",
        "/admin/",
        "/admin/login/",
        "/",
        "/favicon.ico",
        "/v1/docs",
    ],
)
def test_pages_have_all_headers(client: Client, staff: User, path: str) -> None:
    check(client.get(path))
    client.force_login(staff)
    check(client.get(path))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/v1/batches", 200),
        ("get", "/v1/batches/batch_none", 404),
        ("get", "/v1/nothing", 404),
        ("delete", "/v1/batches", 405),
        ("post", "/v1/batches", 400),
    ],
)
def test_api_answers_have_them_too_and_are_not_cached(
    api: APIClient, method: str, path: str, status: int
) -> None:
    r = getattr(api, method)(path)
    assert r.status_code == status
    check(r, OF_THE_API)
    assert r["Cache-Control"] == "no-store"


def test_calls_of_the_api_bring_no_session_along(
    client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser's cookie is no key, and the middlewares for it are not passed."""
    client.force_login(owner)
    passed: list[str] = []
    process = SessionMiddleware.process_request

    def note(self: SessionMiddleware, request: HttpRequest) -> None:
        passed.append(request.path)
        process(self, request)

    monkeypatch.setattr(SessionMiddleware, "process_request", note)
    assert client.get("/v1/batches").status_code == 401
    assert client.post("/v1/batches/x/cancel").status_code == 401
    assert passed == []
    assert client.get("/v1/docs").status_code == 200
    assert passed == ["/v1/docs"]


def test_answers_that_stand_for_djangos_own_have_them_too(
    api: APIClient, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("jobs.api.models.ServedModel.objects.enabled", broken)
    r = api.get("/v1/models")
    assert r.status_code == 500
    assert r["Content-Type"] == "application/json"
    check(r, OF_THE_API)
    other = client.get("/v1/models", HTTP_HOST="evil.example.com")
    assert other.status_code == 400
    assert set(other.json()) == {"error"}


def test_cookies_are_for_this_site_alone(client: Client, db: None) -> None:
    User.objects.create_user("ada@example.com", "a long enough secret")
    r = client.post(
        "/login/", {"username": "ada@example.com", "password": "a long enough secret"}
    )
    for name in ("sessionid", "csrftoken"):
        cookie = r.cookies[name]
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"
        assert not cookie["domain"]
    assert r.cookies["sessionid"]["max-age"] == 14 * 24 * 3600


@pytest.mark.parametrize("path", ["/login/", "/logout/", "/batches/batch_x/cancel/"])
def test_forms_need_their_token(owner: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert client.post(path).status_code == 403


def test_a_session_dies_with_the_password(client: Client, owner: User) -> None:
    client.force_login(owner)
    assert client.get("/batches/").status_code == 200
    owner.set_password("another long secret")
    owner.save(update_fields=["password"])
    assert client.get("/batches/").status_code == 302


def test_files_are_outside_of_what_is_served(settings: Settings) -> None:
    folder = Path(settings.STORAGES["default"]["OPTIONS"]["location"]).resolve()
    for served in settings.STATICFILES_DIRS:
        assert not folder.is_relative_to(Path(served).resolve())


PRODUCTION = """
import json
from django.conf import settings as s
names = ["SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT",
         "SECURE_HSTS_SECONDS", "SESSION_COOKIE_HTTPONLY", "DEBUG"]
print(json.dumps({n: getattr(s, n) for n in names}))
"""


@pytest.mark.slow
def test_production_is_stricter_and_djangos_own_check_is_content(
    tmp_path: Path,
) -> None:
    # Nothing of this process's own environment, which other tests may have changed.
    env = {
        "PATH": os.environ["PATH"],
        "BATCHSITE_PRODUCTION": "on",
        "BATCHSITE_DATA": str(tmp_path),
        "SECRET_KEY": "x7" * 40 + "abcdefgh",
        "ALLOWED_HOSTS": "batch.example.net",
    }

    def manage(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert json.loads(manage("shell", "--no-imports", "-c", PRODUCTION)) == {
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "SECURE_SSL_REDIRECT": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SESSION_COOKIE_HTTPONLY": True,
        "DEBUG": False,
    }
    manage("check", "--deploy", "--fail-level", "WARNING")
