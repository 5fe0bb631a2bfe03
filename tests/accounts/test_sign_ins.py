# SPDX-License-Identifier: Apache-2.0
"""Sign-in: how often one may try, and what the audit log says of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.core.management import call_command
from django.db.models import F
from django.test import Client
from pytest_django import Settings

from batchsite.accounts import attempts
from batchsite.accounts.models import AuditEvent, User
from jobs.chores import do_chore

SignIn = Callable[..., Any]
ADDRESS = "192.0.2.7"


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada@example.com", "a long enough secret")


@pytest.fixture
def sign_in(client: Client, ada: User, settings: Settings) -> SignIn:
    """Tries to sign in; three wrong tries lock."""
    settings.AXES_FAILURE_LIMIT = 3

    def post(
        password: str = "wrong",
        *,
        username: str = "ada@example.com",
        path: str = "/login/",
        address: str = ADDRESS,
        **headers: str,
    ) -> Any:
        fields = {"username": username, "password": password}
        return client.post(path, fields, REMOTE_ADDR=address, headers=headers)

    return post


def locked(r: Any) -> bool:
    return bool(r.status_code == 429)


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("pk").values_list("action", flat=True))


def test_too_many_wrong_tries_lock_and_the_page_says_until_when(
    sign_in: SignIn, settings: Settings
) -> None:
    assert [sign_in().status_code for _ in range(3)] == [200, 200, 429]
    r = sign_in("a long enough secret")
    assert locked(r)
    page = r.content.decode()
    assert "Too many tries to sign in" in page
    assert "Try again in 15 minutes, at" in page
    assert 800 < int(r["Retry-After"]) <= 900
    assert r["Cache-Control"] == "no-store"
    assert "ada@example.com" not in page


def test_the_lock_ends_by_itself_and_tries_meanwhile_do_not_lengthen_it(
    sign_in: SignIn, settings: Settings
) -> None:
    for _ in range(3):
        sign_in()
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(minutes=14))
    assert locked(sign_in())
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(minutes=2))
    assert sign_in("a long enough secret").status_code == 302


def test_capitals_count_as_the_same_account(sign_in: SignIn) -> None:
    for name in ("Ada@example.com", "ADA@EXAMPLE.COM", "ada@example.com"):
        r = sign_in(username=name)
    assert locked(r)


def test_other_accounts_and_other_places_are_not_locked(sign_in: SignIn) -> None:
    User.objects.create_user("bob@example.com", "another long secret")
    for _ in range(3):
        sign_in()
    r = sign_in("another long secret", username="bob@example.com")
    assert r.status_code == 302
    assert sign_in("a long enough secret", address="192.0.2.8").status_code == 302


def test_a_good_sign_in_starts_the_count_anew(sign_in: SignIn) -> None:
    for _ in range(2):
        assert not locked(sign_in())
    assert sign_in("a long enough secret").status_code == 302
    for _ in range(2):
        assert not locked(sign_in())


def test_behind_the_proxy_the_place_is_the_clients(
    sign_in: SignIn, settings: Settings
) -> None:
    settings.BATCHSITE_BEHIND_PROXY = True
    one = {"x-forwarded-for": "203.0.113.9, 198.51.100.1"}
    for _ in range(3):
        r = sign_in(**one)
    assert locked(r)
    r = sign_in("a long enough secret", **{"x-forwarded-for": "198.51.100.2"})
    assert r.status_code == 302


def test_without_the_proxy_a_header_changes_nothing(sign_in: SignIn) -> None:
    for number in range(3):
        r = sign_in(**{"x-forwarded-for": f"198.51.100.{number}"})
    assert locked(r)


def test_the_admins_own_sign_in_is_locked_too(sign_in: SignIn) -> None:
    for _ in range(3):
        r = sign_in(path="/admin/login/")
    assert locked(r)
    assert "Too many tries" in r.content.decode()


def test_a_command_unlocks(sign_in: SignIn) -> None:
    for _ in range(3):
        sign_in()
    call_command("axes_reset_username", "ada@example.com", verbosity=0)
    assert sign_in("a long enough secret").status_code == 302


def test_no_password_is_kept(sign_in: SignIn) -> None:
    sign_in("a wrong secret")
    assert "a wrong secret" not in str(list(AccessAttempt.objects.values()))
    assert "a wrong secret" not in str(list(AuditEvent.objects.values()))


def test_sign_in_and_out_are_in_the_audit_log(
    sign_in: SignIn, client: Client, ada: User
) -> None:
    sign_in("a long enough secret")
    client.post("/logout/", REMOTE_ADDR=ADDRESS)
    client.post("/logout/")
    assert actions() == ["account.sign_out", "account.sign_in"][::-1]
    for event in AuditEvent.objects.all():
        assert (event.actor, event.target, event.address) == (ada, ada.email, ADDRESS)


def test_failures_are_in_the_audit_log_and_the_lock_once(sign_in: SignIn) -> None:
    for _ in range(6):
        sign_in(username="Ada@example.com")
    failed, lock = "account.sign_in_failed", "account.locked"
    assert actions() == [failed, failed, lock]
    first = AuditEvent.objects.order_by("pk")[0]
    assert (first.actor, first.target, first.address) == (
        None,
        "ada@example.com",
        ADDRESS,
    )


def test_names_that_nobody_has_do_not_fill_the_log(sign_in: SignIn) -> None:
    codes = [sign_in(username="eve@example.com").status_code for _ in range(4)]
    assert codes == [200, 200, 429, 429]
    assert actions() == []


def test_tries_that_count_no_more_are_forgotten(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in()
    for number in range(5):
        sign_in(username=f"eve{number}@example.com")
    assert not attempts.any_over()
    AccessAttempt.objects.filter(username__startswith="eve").update(
        attempt_time=F("attempt_time") - timedelta(minutes=16)
    )
    assert attempts.any_over()
    monkeypatch.setattr(attempts, "SLICE", 2)
    assert do_chore("old sign-in tries") == "5 old wrong passwords forgotten"
    assert AccessAttempt.objects.get().username == "ada@example.com"
