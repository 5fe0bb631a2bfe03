# SPDX-License-Identifier: Apache-2.0
"""A person's own account, and passwords set by a link."""

from __future__ import annotations

import pytest
from axes.models import AccessAttempt
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from batchsite.accounts.models import AuditEvent, Team, User
from batchsite.accounts.people import create_api_key, ensure_member, set_password_path

OLD, NEW = "a long enough secret", "another long enough secret"


@pytest.fixture
def ada(team: Team, owner: User) -> User:
    owner.set_password(OLD)
    owner.save(update_fields=["password"])
    return owner


def passwords(**over: str) -> dict[str, str]:
    fields = {"old_password": OLD, "new_password1": NEW, "new_password2": NEW}
    return fields | over


def sign_in(email: str, password: str) -> bool:
    client = Client()
    client.post("/login/", {"username": email, "password": password})
    return "_auth_user_id" in client.session


def test_the_account_shows_the_person(client: Client, ada: User) -> None:
    client.force_login(ada)

    page = client.get("/account/").content.decode()

    assert "owner@example.com" in page
    assert "Blue" in page
    assert 'aria-current="true"' in page


@pytest.mark.parametrize("path", ["/account/", "/account/password/", "/account/name/"])
def test_the_account_needs_sign_in(client: Client, db: None, path: str) -> None:
    send = client.post if path.endswith("name/") else client.get
    assert send(path)["Location"] == f"/login/?next={path}"


def test_the_name_is_saved_and_shown_to_the_team(
    client: Client, team: Team, ada: User
) -> None:
    client.force_login(ada)

    assert client.get("/account/name/").status_code == 405
    for _ in range(2):
        r = client.post("/account/name/", {"first_name": "Ada", "last_name": "L."})
        assert r["Location"] == "/account/"
    assert "Ada L." in client.get(f"/teams/{team.pk}/people/").content.decode()

    bad = client.post("/account/name/", {"first_name": "x" * 151})
    ada.refresh_from_db()
    assert "at most 150 characters" in bad.content.decode()
    assert ada.first_name == "Ada"


def test_a_new_password_ends_all_other_sessions(client: Client, ada: User) -> None:
    elsewhere = Client()
    for browser in (client, elsewhere):
        browser.post("/login/", {"username": ada.email, "password": OLD})
        assert browser.get("/batches/").status_code == 200

    r = client.post("/account/password/", passwords(), follow=True)

    assert "Other browsers are signed out." in r.content.decode()
    assert client.get("/batches/").status_code == 200
    assert elsewhere.get("/batches/").status_code == 302
    assert sign_in(ada.email, NEW)
    assert not sign_in(ada.email, OLD)
    event = AuditEvent.objects.get(action="account.password_change")
    assert (event.actor, event.address) == (ada, "127.0.0.1")


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"old_password": "wrong"}, "was entered incorrectly"),
        ({"new_password2": "something else"}, "match"),
        ({"new_password1": "12345678", "new_password2": "12345678"}, "too common"),
        ({"new_password1": "", "new_password2": ""}, "This field is required."),
    ],
)
def test_a_refused_password_changes_nothing(
    client: Client, ada: User, over: dict[str, str], words: str
) -> None:
    client.force_login(ada)

    r = client.post("/account/password/", passwords(**over))

    assert words in r.content.decode()
    assert 'class="errorlist"' in r.content.decode()
    assert sign_in(ada.email, OLD)


def test_wrong_present_passwords_are_counted_and_logged(
    client: Client, ada: User, settings: Settings
) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    client.force_login(ada)

    answers = [
        client.post("/account/password/", passwords(old_password="a wrong secret"))
        for _ in range(3)
    ]

    assert [r.status_code for r in answers] == [200, 200, 429]
    assert "Back to your account" in answers[2].content.decode()
    assert client.post("/account/password/", passwords()).status_code == 429
    # The person is still signed in, and so is nobody else.
    assert client.get("/account/").status_code == 200
    assert not sign_in(ada.email, OLD)
    failed, lock = "account.sign_in_failed", "account.locked"
    logged = AuditEvent.objects.order_by("pk").exclude(action="account.sign_in")
    assert list(logged.values_list("action", "target")) == [(failed, ada.email)] * 2 + [
        (lock, ada.email)
    ]
    kept = str([*AccessAttempt.objects.values(), *AuditEvent.objects.values()])
    assert all(secret not in kept for secret in (OLD, NEW, "a wrong secret"))


def test_the_admin_leads_to_the_same_page(client: Client, staff: User) -> None:
    client.force_login(staff)
    r = client.post("/admin/password_change/", passwords())
    assert r["Location"] == "/account/password/"


def set_by_link(client: Client, path: str, password: str = NEW) -> str:
    """Open the link and send the form; the text of the page that follows."""
    opened = client.get(path, follow=True)
    to = opened.redirect_chain[-1][0] if opened.redirect_chain else path
    fields = {"new_password1": password, "new_password2": password}
    return client.post(to, fields, follow=True).content.decode()


def test_a_link_sets_the_password_once(client: Client, teammate: User) -> None:
    path = set_password_path(teammate)

    page = set_by_link(client, path)

    assert "The password of teammate@example.com is set." in page
    assert "Sign in" in page
    assert sign_in(teammate.email, NEW)
    assert AuditEvent.objects.get(action="account.password_set").actor == teammate
    # A link that was used is no link.
    again = Client()
    assert "does not work any more" in again.get(path).content.decode()
    set_by_link(again, path, "a third long secret")
    assert sign_in(teammate.email, NEW)


def test_a_link_ends_when_the_person_signs_in(client: Client, teammate: User) -> None:
    path = set_password_path(teammate)
    User.objects.filter(pk=teammate.pk).update(last_login=timezone.now())

    assert "does not work any more" in client.get(path).content.decode()


@pytest.mark.parametrize("change", ["staff", "superuser", "team", "out"])
def test_a_link_ends_when_the_person_may_more_or_less(
    client: Client, teammate: User, other_team: Team, change: str
) -> None:
    path = set_password_path(teammate)
    opened = client.get(path, follow=True)
    assert "does not work any more" not in opened.content.decode()
    match change:
        case "staff":
            User.objects.filter(pk=teammate.pk).update(is_staff=True)
        case "superuser":
            User.objects.filter(pk=teammate.pk).update(is_superuser=True)
        case "team":
            ensure_member(team_name=other_team.name, email=teammate.email)
        case "out":
            teammate.memberships.all().delete()

    # Neither the page that is open already nor the link itself.
    to = opened.redirect_chain[-1][0]
    client.post(to, {"new_password1": NEW, "new_password2": NEW})
    assert "does not work any more" in set_by_link(Client(), path)
    teammate.refresh_from_db()
    assert not teammate.has_usable_password()


def test_weak_passwords_are_refused_beside_the_field(
    client: Client, teammate: User
) -> None:
    page = set_by_link(client, set_password_path(teammate), "password")

    assert "too common" in page
    teammate.refresh_from_db()
    assert not teammate.has_usable_password()


@pytest.mark.parametrize("path", ["x/y", "MQ/x-y", "a%00b/c", "MTAwMDAwMDAw/x"])
def test_invented_links_open_nothing(client: Client, db: None, path: str) -> None:
    r = client.get(f"/set-password/{path}/")

    assert r.status_code == 200
    assert "does not work any more" in r.content.decode()


def test_keys_outlive_a_new_password(client: Client, team: Team, ada: User) -> None:
    token = create_api_key(team=team, user=ada, name="ci")
    client.force_login(ada)
    client.post("/account/password/", passwords())

    r = Client().get("/v1/batches", headers={"authorization": f"Bearer {token}"})
    assert r.status_code == 200
