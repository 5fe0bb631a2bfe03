# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from django.test import Client

from batchsite.accounts.models import User


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada@example.com", "a long enough secret")


def credentials(**over: str) -> dict[str, str]:
    fields = {"username": "ada@example.com", "password": "a long enough secret"}
    return fields | over


def test_sign_in_by_e_mail_leads_to_the_batches(client: Client, ada: User) -> None:
    r = client.post("/login/", credentials())

    assert r.status_code == 302
    assert r["Location"] == "/batches/"
    assert client.get("/batches/").status_code == 200


def test_capitals_in_the_address_do_not_matter(client: Client, ada: User) -> None:
    r = client.post("/login/", credentials(username="Ada@Example.com"))

    assert r.status_code == 302


@pytest.mark.parametrize("wrong", [{"password": "no"}, {"username": "eve@example.com"}])
def test_a_wrong_pair_is_refused_in_words(
    client: Client, ada: User, wrong: dict[str, str]
) -> None:
    r = client.post("/login/", credentials(**wrong))

    # The words do not tell whether the address exists.
    assert r.status_code == 200
    assert "do not belong together" in r.content.decode()
    assert "_auth_user_id" not in client.session


def test_empty_fields_are_said(client: Client, db: None) -> None:
    r = client.post("/login/", {"username": "", "password": ""})

    assert "Give an e-mail address and the password." in r.content.decode()


def test_sign_in_comes_back_to_the_page_that_was_asked_for(
    client: Client, ada: User
) -> None:
    asked = client.get("/engines/")
    r = client.post(asked["Location"], credentials(next="/engines/"))

    assert asked["Location"] == "/login/?next=/engines/"
    assert r["Location"] == "/engines/"


def test_sign_in_does_not_lead_to_other_sites(client: Client, ada: User) -> None:
    r = client.post("/login/", credentials(next="https://evil.example.com/"))

    assert r["Location"] == "/batches/"


def test_sign_out_takes_a_post(client: Client, ada: User) -> None:
    client.force_login(ada)

    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/").status_code == 302
    assert client.get("/batches/").status_code == 302


def test_a_poll_without_a_session_sends_the_whole_page_to_sign_in(
    client: Client, db: None
) -> None:
    r = client.get(
        "/batches/",
        headers={"hx-request": "true", "hx-current-url": "http://testserver/batches/"},
        follow=True,
    )

    # A sign-in page swapped into a table would be no sign-in page.
    assert r.status_code == 204
    assert r["HX-Redirect"] == "/login/?next=%2Fbatches%2F"


@pytest.mark.parametrize(
    "path",
    [
        "/batches/",
        "/batches/batch_x/",
        "/batches/batch_x/error-report/",
        "/files/file-x/download/",
        "/engines/",
        "/alarms/",
    ],
)
def test_pages_ask_anonymous_people_to_sign_in(
    client: Client, db: None, path: str
) -> None:
    r = client.get(path)

    assert r.status_code == 302
    assert r["Location"] == f"/login/?next={path}"
