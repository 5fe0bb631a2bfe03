# SPDX-License-Identifier: Apache-2.0
"""What stands around every page: theme, alarms, navigation, error pages, CSP."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from batchsite.accounts.models import User
from jobs.models import Engine
from tests.web import rows


def test_home_asks_to_sign_in(client: Client) -> None:
    assert client.get("/")["Location"] == "/login/?next=/"


def test_theme_is_kept_in_a_cookie_and_written_into_the_page(client: Client) -> None:
    r = client.post(
        "/theme/", {"theme": "dark"}, headers={"referer": "http://testserver/login/"}
    )
    page = client.get("/login/").content.decode()

    assert r["Location"] == "http://testserver/login/"
    assert '<html lang="en" data-theme="dark">' in page


def test_unknown_themes_and_foreign_referers_are_ignored(client: Client) -> None:
    r = client.post(
        "/theme/", {"theme": '"><b>'}, headers={"referer": "https://evil.example.com/"}
    )

    assert r["Location"] == "/"
    assert "theme" not in client.cookies
    assert client.get("/theme/").status_code == 405


def test_a_forged_theme_cookie_means_auto(client: Client) -> None:
    client.cookies["theme"] = "x onload=alert(1)"

    assert 'data-theme="auto"' in client.get("/login/").content.decode()


def test_without_engine_and_worker_every_page_says_so(
    client: Client, owner: User
) -> None:
    client.force_login(owner)

    for path in ("/batches/", "/engines/"):
        page = client.get(path).content.decode()
        assert "No engine is running." in page
        assert "manage.py runengine --name gpu0" in page
        assert "No control worker is running." in page


@pytest.mark.parametrize(
    ("over", "command"),
    [
        ({"alive": False}, "manage.py runengine --name gpu0"),
        ({"worker_heartbeat": None}, "manage.py runworker --engine gpu0"),
        (
            {
                "alive": False,
                "kind": Engine.Kind.EXTERNAL,
                "base_url": "http://127.0.0.1:1/v1",
            },
            "manage.py runworker --engine gpu0",
        ),
    ],
)
def test_alarms_name_the_command_that_mends(
    client: Client, owner: User, over: dict[str, Any], command: str
) -> None:
    rows.control_worker()
    rows.managed(**over)
    client.force_login(owner)

    page = client.get("/alarms/").content.decode()

    assert command in page
    assert "control worker" not in page


def test_a_full_disk_is_an_alarm(client: Client, owner: User) -> None:
    worker = rows.control_worker()
    worker.trouble = "the disk of the data folder has 0.10 GB free"
    worker.save(update_fields=["trouble"])
    rows.managed()
    client.force_login(owner)

    page = client.get("/alarms/").content.decode()

    assert "A disk is nearly full." in page
    assert "until there is room: the disk of the data folder has 0.10 GB free." in page


def test_no_alarm_while_all_is_well(
    client: Client, owner: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    rows.control_worker()
    rows.managed()
    client.force_login(owner)

    # session, user, engines, control workers, webhooks that were switched off
    with django_assert_num_queries(5):
        r = client.get("/alarms/", headers={"hx-request": "true"})
    again = client.get("/alarms/", headers={"if-none-match": r["ETag"]})

    assert 'class="alarm"' not in r.content.decode()
    assert again.status_code == 304


def test_only_staff_see_the_way_to_the_admin(
    client: Client, owner: User, staff: User
) -> None:
    client.force_login(owner)
    assert "/admin/" not in client.get("/engines/").content.decode()

    client.force_login(staff)
    assert "/admin/" in client.get("/engines/").content.decode()


def test_unknown_addresses_get_a_404_in_the_products_look(
    client: Client, owner: User
) -> None:
    client.force_login(owner)
    r = client.get("/nowhere/")

    assert r.status_code == 404
    assert "There is nothing at this address" in r.content.decode()


def test_a_missing_csrf_token_is_explained(owner: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    r = strict.post("/theme/", {"theme": "dark"})

    assert r.status_code == 403
    assert "too old to be trusted" in r.content.decode()


def test_a_broken_page_says_so_without_details(
    client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("jobs.web.engines.engines", broken)
    client.force_login(owner)
    client.raise_request_exception = False

    r = client.get("/engines/")

    assert r.status_code == 500
    assert "Something broke on our side" in r.content.decode()
    assert "secret detail" not in r.content.decode()


def test_no_page_needs_inline_script_or_style(
    client: Client, owner: User, settings: Settings
) -> None:
    client.force_login(owner)

    for path in ("/batches/", "/engines/"):
        r = client.get(path)
        page = r.content.decode()
        # Every script has a src; no style attribute, no event handler.
        assert not re.search(r"<script(?![^>]*\bsrc=)", page)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)
        assert "default-src 'self'" in r["Content-Security-Policy"]
        assert "unsafe" not in r["Content-Security-Policy"]
