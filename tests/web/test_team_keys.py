# SPDX-License-Identifier: Apache-2.0
"""API keys in the browser."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from batchsite.accounts.models import ApiKey, AuditEvent, Team, User
from batchsite.accounts.people import MOST_KEYS, create_api_key, ensure_member

TOKEN = re.compile(r"sk-bs-[0-9a-f]{64}")


def fields(**over: str) -> dict[str, str]:
    return {"name": "nightly", "reach": "all", "expires": "never"} | over


def make(client: Client, team: Team, **over: str) -> str:
    r = client.post(f"/teams/{team.pk}/keys/new/", fields(**over))
    assert r.status_code == 200
    return r.content.decode()


def test_a_key_is_made_shown_once_and_works(
    client: Client, team: Team, teammate: User
) -> None:
    client.force_login(teammate)

    r = client.post(f"/teams/{team.pk}/keys/new/", fields())
    page = r.content.decode()
    token = TOKEN.findall(page)[0]

    # It is in the answer alone: not in a cache, not in the session, not in a message.
    assert "no-store" in r["Cache-Control"]
    assert set(TOKEN.findall(page)) == {token}
    assert 'base_url="http://testserver/v1"' in page
    assert "export OPENAI_BASE_URL=http://testserver/v1" in page
    assert token not in str(dict(client.session))
    assert token not in str(client.cookies)
    assert not TOKEN.search(client.get(f"/teams/{team.pk}/keys/").content.decode())

    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert api.get("/v1/batches").status_code == 200
    event = AuditEvent.objects.get(action="key.create")
    assert (event.actor, event.address) == (teammate, "127.0.0.1")


def test_the_same_form_twice_makes_one_key(
    client: Client, team: Team, owner: User
) -> None:
    client.force_login(owner)
    make(client, team)

    again = make(client, team)

    # A reload of the answer sends the form again.
    assert not TOKEN.search(again)
    assert "You have a working key of this name already." in again
    assert ApiKey.objects.count() == 1
    ApiKey.objects.update(revoked_at=timezone.now())
    assert TOKEN.search(make(client, team))


def test_a_person_has_so_many_working_keys_and_no_more(
    client: Client, team: Team, owner: User, teammate: User, staff: User
) -> None:
    for number in range(MOST_KEYS):
        create_api_key(team=team, user=owner, name=f"key {number}")
    client.force_login(owner)
    refusal = "owner@example.com has 20 working keys in this team"

    assert refusal in make(client, team, name="one more")
    words = ("--team=Blue", "--user=owner@example.com", "--name=one more")
    with pytest.raises(CommandError, match=refusal):
        call_command("createapikey", *words, stdout=StringIO(), stderr=StringIO())
    client.force_login(staff)
    added = {"team": team.pk, "user": owner.pk, "name": "one more"}
    r = client.post("/admin/accounts/apikey/add/", added)
    assert refusal in r.content.decode()
    assert ApiKey.objects.count() == MOST_KEYS
    # Others have their own, and one that ended makes room.
    create_api_key(team=team, user=teammate, name="mine")
    ApiKey.objects.filter(name="key 0").update(revoked_at=timezone.now())
    client.force_login(owner)
    assert TOKEN.search(make(client, team, name="one more"))


def test_names_are_each_persons_own(
    client: Client, team: Team, other_team: Team, owner: User, teammate: User
) -> None:
    create_api_key(team=team, user=teammate, name="nightly")
    ensure_member(team_name="Green", email=owner.email)
    create_api_key(team=other_team, user=owner, name="nightly")
    client.force_login(owner)

    assert TOKEN.search(make(client, team))


@pytest.mark.parametrize(
    ("chosen", "scopes"),
    [
        ({"reach": "all", "files": "read"}, []),
        ({"reach": "some", "files": "read", "batches": "write"}, None),
        ({"reach": "some", "benchmarks": "write"}, ["benchmarks:write"]),
    ],
)
def test_scopes_follow_the_matrix(
    client: Client,
    team: Team,
    owner: User,
    chosen: dict[str, str],
    scopes: list[str] | None,
) -> None:
    client.force_login(owner)

    make(client, team, **chosen)

    wanted = ["batches:write", "files:read"] if scopes is None else scopes
    assert ApiKey.objects.get().scopes == wanted
    listed = client.get(f"/teams/{team.pk}/keys/").content.decode()
    if scopes is None:
        assert "reads files, reads and writes batches" in listed


def last_day(days: int) -> str:
    return (timezone.localdate() + timedelta(days=days)).isoformat()


@pytest.mark.parametrize(
    ("over", "days"),
    [
        ({"expires": "never"}, None),
        ({"expires": "7"}, 7),
        ({"expires": "365"}, 365),
        # The whole of the day counts.
        ({"expires": "date", "last_day": last_day(2)}, 3),
        # A day that is not asked for is no error.
        ({"expires": "30", "last_day": "nonsense"}, 30),
        ({"expires": "30", "last_day": "2001-01-01"}, 30),
    ],
)
def test_keys_end_when_they_were_told_to(
    client: Client, team: Team, owner: User, over: dict[str, str], days: int | None
) -> None:
    client.force_login(owner)
    before = timezone.now()

    make(client, team, **over)

    expiry = ApiKey.objects.get().expiry
    if days is None:
        assert expiry is None
    elif over["expires"] == "date":
        local = timezone.localtime(expiry)
        assert (local.hour, local.minute, local.second) == (0, 0, 0)
        assert local.date() == timezone.localdate(before) + timedelta(days=days)
    else:
        assert expiry >= before + timedelta(days=days)
        assert expiry <= timezone.now() + timedelta(days=days)


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"name": "  "}, "This field is required."),
        ({"name": "x" * 101}, "at most 100 characters"),
        ({"name": "a\0b"}, "Null characters are not allowed."),
        ({"reach": "some"}, "Choose at least one thing"),
        ({"reach": "some", "files": "everything"}, "Choose at least one thing"),
        ({"expires": "date"}, "Choose the last day"),
        ({"expires": "date", "last_day": "2001-01-01"}, "This day is over."),
        ({"expires": "date", "last_day": "9999-12-31"}, "less than or equal to"),
        ({"expires": "soon"}, "Select a valid choice."),
    ],
)
def test_refusals_stand_beside_their_field(
    client: Client, team: Team, owner: User, over: dict[str, str], words: str
) -> None:
    client.force_login(owner)

    page = make(client, team, **over)

    assert words in page
    assert "Nothing was made yet" in page
    assert not ApiKey.objects.exists()


def test_people_see_their_own_keys_and_owners_all(
    client: Client, team: Team, owner: User, teammate: User, staff: User
) -> None:
    create_api_key(team=team, user=owner, name="the owner's")
    create_api_key(team=team, user=teammate, name="the mate's")
    seen: dict[str, tuple[bool, bool]] = {}
    for user in (owner, teammate, staff):
        client.force_login(user)
        page = client.get(f"/teams/{team.pk}/keys/").content.decode()
        seen[user.email] = ("the owner" in page, "the mate" in page)

    assert seen == {
        "owner@example.com": (True, True),
        "teammate@example.com": (False, True),
        "staff@example.com": (True, True),
    }


def test_ended_keys_are_told_apart(client: Client, team: Team, owner: User) -> None:
    now = timezone.now()
    ended: dict[str, dict[str, Any]] = {
        "good": {"last_used_at": now, "last_used_from": "192.0.2.1"},
        "expired": {"expiry": now - timedelta(days=1)},
        "revoked": {"revoked_at": now},
    }
    for name, columns in ended.items():
        create_api_key(team=team, user=owner, name=f"{name} key")
        ApiKey.objects.filter(name=f"{name} key").update(**columns)
    client.force_login(owner)

    working = client.get(f"/teams/{team.pk}/keys/").content.decode()
    everything = client.get(f"/teams/{team.pk}/keys/?all").content.decode()

    assert "good key" in working
    assert "from 192.0.2.1" in working
    assert "expired key" not in working
    assert "revoked key" not in working
    for word in ("active", "expired", "revoked"):
        assert re.search(rf"chip.*</svg>{word}</span>", everything)


def test_a_key_of_somebody_who_is_switched_off_is_shown_as_shut_out(
    client: Client, team: Team, owner: User, teammate: User
) -> None:
    create_api_key(team=team, user=teammate, name="mate")
    User.objects.filter(pk=teammate.pk).update(is_active=False)
    client.force_login(owner)

    assert "shut out" in client.get(f"/teams/{team.pk}/keys/?all").content.decode()


def test_revoking_shuts_out_at_once_and_once(
    client: Client, team: Team, owner: User, teammate: User
) -> None:
    token = create_api_key(team=team, user=teammate, name="mate")
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert api.get("/v1/batches").status_code == 200
    client.force_login(teammate)
    address = f"/teams/{team.pk}/keys/{token[:15]}/revoke/"

    first = client.post(address, follow=True).content.decode()
    second = client.post(address, follow=True).content.decode()

    assert "is revoked." in first
    assert "was revoked already." in second
    assert api.get("/v1/batches").status_code == 401
    assert AuditEvent.objects.filter(action="key.revoke").count() == 1


def test_revoking_needs_the_key_in_sight(
    client: Client, team: Team, other_team: Team, owner: User, teammate: User
) -> None:
    stranger = ensure_member(team_name="Green", email="stranger@example.com").user
    token = create_api_key(team=team, user=owner, name="the owner's")
    address = f"/teams/{team.pk}/keys/{token[:15]}/revoke/"

    assert client.post(address)["Location"].startswith("/login/?next=")
    for user in (teammate, stranger):
        client.force_login(user)
        assert client.post(address).status_code == 404
    client.force_login(owner)
    assert client.get(address).status_code == 405
    for wrong in ("sk-bs-000000000", "a%00b", "x" * 300):
        path = f"/teams/{team.pk}/keys/{wrong}/revoke/"
        assert client.post(path).status_code == 404
    # A key is not reached through another team of its person.
    ensure_member(team_name="Green", email=owner.email)
    other = f"/teams/{other_team.pk}/keys/{token[:15]}/revoke/"
    assert client.post(other).status_code == 404
    assert ApiKey.objects.usable().count() == 1


@pytest.mark.parametrize("path", ["keys/", "keys/new/"])
def test_pages_of_keys_are_for_the_team_alone(
    client: Client, team: Team, owner: User, stranger: User, viewer: User, path: str
) -> None:
    address = f"/teams/{team.pk}/{path}"
    assert client.get(address)["Location"].startswith("/login/?next=")
    client.force_login(stranger)
    assert client.get(address).status_code == 404
    assert client.post(f"/teams/{team.pk}/keys/new/", fields()).status_code == 404
    client.force_login(viewer)
    assert client.get(address).status_code == 200
    assert not ApiKey.objects.exists()


def test_a_viewers_key_only_reads(client: Client, team: Team, viewer: User) -> None:
    client.force_login(viewer)
    assert (
        "so the key only reads"
        in client.get(f"/teams/{team.pk}/keys/new/").content.decode()
    )

    token = TOKEN.findall(make(client, team))[0]

    api: Any = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert api.get("/v1/batches").status_code == 200
    assert api.post("/v1/batches", {}, format="json").status_code == 403
