# SPDX-License-Identifier: Apache-2.0
"""manage.py listapikeys, revokeapikey and addmember."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from batchsite.accounts.models import ApiKey, AuditEvent, Membership, Team, User
from batchsite.accounts.people import create_api_key
from tests.inputs import api_client


def said(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_keys_are_listed_without_the_keys(
    team: Team, owner: User, other_team: Team, stranger: User
) -> None:
    assert said("listapikeys") == "No keys.\n"
    token = create_api_key(
        team=team,
        user=owner,
        name="ci",
        scopes=["files:read", "batches:write"],
        expiry=timedelta(days=2),
    )
    api_client(stranger, other_team).get("/v1/models", REMOTE_ADDR="192.0.2.7")
    lines = said("listapikeys").splitlines()
    assert len(lines) == 3
    assert "\tall\tusable\tnever\t" in lines[1]
    assert lines[1].endswith("\t192.0.2.7")
    assert lines[2].startswith(
        f"{token[:15]}\tci\tBlue\towner@example.com\tbatches:write,files:read\tusable\t"
    )
    assert lines[2].endswith("\t-\t-")
    assert token not in "".join(lines)
    assert len(said("listapikeys", "--team=Blue").splitlines()) == 2
    with pytest.raises(CommandError, match="no team 'Pink'"):
        said("listapikeys", "--team=Pink")


def test_revoked_and_expired_keys_are_listed_on_request(
    team: Team, owner: User
) -> None:
    for name in ("old", "gone"):
        create_api_key(
            team=team, user=owner, name=name, expiry=timedelta(milliseconds=1)
        )
    said("revokeapikey", ApiKey.objects.get(name="gone").token_key)
    assert said("listapikeys") == "No keys.\n"
    listed = said("listapikeys", "--all")
    assert "\told\t" in listed
    assert "\texpired\t" in listed
    assert "\trevoked\t" in listed


def test_a_revoked_key_stops_at_once(api: APIClient) -> None:
    key = ApiKey.objects.get()
    assert api.get("/v1/files").status_code == 200
    assert "is revoked" in said("revokeapikey", key.token_key)
    assert api.get("/v1/files").status_code == 401
    with pytest.raises(CommandError, match="was revoked before"):
        said("revokeapikey", key.token_key)
    with pytest.raises(CommandError, match="No key starts 'sk-bs-xx'"):
        said("revokeapikey", "sk-bs-xx")
    with pytest.raises(CommandError, match="8 characters at least"):
        said("revokeapikey", "sk-bs-x")
    assert AuditEvent.objects.filter(action="key.revoke").count() == 1


def test_a_key_is_found_by_its_beginning_or_as_a_whole(team: Team, owner: User) -> None:
    tokens = [create_api_key(team=team, user=owner, name=name) for name in "ab"]
    for number, token in enumerate(tokens):
        # The second one starts as the first one does, and goes on differently.
        ApiKey.objects.filter(name="ab"[number]).update(
            token_key=f"sk-bs-same{number}{token[11:15]}"
        )
    with pytest.raises(CommandError, match="Several"):
        said("revokeapikey", "sk-bs-same")
    assert "a (" in said("revokeapikey", "sk-bs-same0")
    with pytest.raises(CommandError, match="No key is") as refused:
        said("revokeapikey", tokens[1][:-1] + "!")
    assert tokens[1][:-1] not in str(refused.value)
    assert "b (" in said("revokeapikey", f" {tokens[1]} ")
    assert ApiKey.objects.filter(revoked_at=None).count() == 0


def test_keys_that_start_alike_are_not_guessed(team: Team, owner: User) -> None:
    for name in "ab":
        create_api_key(team=team, user=owner, name=name)
    ApiKey.objects.update(token_key="sk-bs-same")
    with pytest.raises(CommandError, match="Several"):
        said("revokeapikey", "sk-bs-same")


def test_a_new_member_gets_a_link_that_works_once(client: Client, db: None) -> None:
    link = said(
        "addmember",
        "--team=Blue",
        "--user=Ann@example.com",
        "--role=curator",
        "--site=https://batch.example.net/",
    ).strip()
    assert link.startswith("https://batch.example.net/set-password/")
    member = Membership.objects.get()
    assert (member.team.name, member.user.email, member.role) == (
        "Blue",
        "ann@example.com",
        "curator",
    )
    form = client.get(urlsplit(link).path, follow=True)
    assert form.status_code == 200
    secret = "correct horse battery"
    client.post(
        form.redirect_chain[-1][0] if form.redirect_chain else urlsplit(link).path,
        {"new_password1": secret, "new_password2": secret},
    )
    member.user.refresh_from_db()
    assert member.user.check_password(secret)
    again = Client().post(
        urlsplit(link).path, {"new_password1": "y" * 20, "new_password2": "y" * 20}
    )
    assert again.status_code < 500
    member.user.refresh_from_db()
    assert member.user.check_password(secret)


def test_who_never_set_a_password_gets_another_link(team: Team, owner: User) -> None:
    words = ("addmember", "--team=Blue", "--user=Owner@example.com")
    for _ in range(2):
        assert "/set-password/" in said(*words)
    assert Membership.objects.get().role == "owner"
    event = AuditEvent.objects.filter(action="member.link").latest("pk")
    assert (event.actor, event.team, event.target) == (None, team, owner.email)
    with pytest.raises(CommandError, match="in this team already, as owner"):
        said(*words, "--role=member")


@pytest.mark.parametrize(
    ("over", "address"),
    [
        (
            {"ALLOWED_HOSTS": ["localhost", "*", ".example.net"]},
            "http://127.0.0.1:8000",
        ),
        (
            {"ALLOWED_HOSTS": ["localhost", "b.example.net"]},
            "http://b.example.net:8000",
        ),
        (
            {"ALLOWED_HOSTS": ["b.example.net"], "PRODUCTION": True},
            "https://b.example.net",
        ),
        ({"CSRF_TRUSTED_ORIGINS": ["https://c.example.net"]}, "https://c.example.net"),
    ],
)
def test_the_links_address_follows_the_settings(
    team: Team, settings: Settings, over: dict[str, Any], address: str
) -> None:
    settings.BATCHSITE_PORT = 8000
    for name, value in over.items():
        setattr(settings, name, value)
    link = said("addmember", "--team=Blue", "--user=ann@example.com")
    assert link.startswith(f"{address}/set-password/")


def test_somebody_with_a_password_gets_no_link(team: Team) -> None:
    User.objects.create_user("ann@example.com", "a long enough secret")
    assert said("addmember", "--team=Blue", "--user=ann@example.com") == ""
    assert Membership.objects.get().role == "member"
    with pytest.raises(CommandError, match="in this team already, as member"):
        said("addmember", "--team=Blue", "--user=ann@example.com", "--role=owner")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--team=Blue", "--user=nobody"), "e-mail address"),
        (("--team= ", "--user=a@example.com"), "--team must have"),
    ],
)
def test_wrong_options_add_nobody(
    db: None, words: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(CommandError, match=problem):
        said("addmember", *words)
    assert not Team.objects.exists()
    assert not User.objects.exists()
