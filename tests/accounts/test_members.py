# SPDX-License-Identifier: Apache-2.0
"""Adding, changing and removing the people of a team, and their keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from pytest_django import Settings

from batchsite.accounts import people
from batchsite.accounts.models import ApiKey, AuditEvent, Membership, Team, User
from batchsite.accounts.people import CannotChange
from tests.inputs import api_client

ADDRESS = "192.0.2.7"


def member(team: Team, user: User) -> Membership:
    return Membership.objects.get(team=team, user=user)


def event(action: str) -> AuditEvent:
    return AuditEvent.objects.get(action=action)


def test_somebody_new_is_made_without_a_password(team: Team, owner: User) -> None:
    made = people.add_member(
        team=team, email=" New@Example.com ", role="viewer", by=owner, address=ADDRESS
    )
    assert (made.user.email, made.role) == ("new@example.com", "viewer")
    assert not made.user.has_usable_password()
    told = event("member.add")
    assert (told.actor, told.team, told.target, told.address, told.data) == (
        owner,
        team,
        "new@example.com",
        ADDRESS,
        {"role": "viewer"},
    )


def test_somebody_known_is_taken_in_as_they_are(team: Team, stranger: User) -> None:
    made = people.add_member(
        team=team, email="STRANGER@example.com", role="member", by=None
    )
    assert made.user == stranger
    assert stranger.memberships.count() == 2


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"email": "nobody"}, "e-mail address"),
        ({"email": ""}, "e-mail address"),
        ({"role": "king"}, "A role is one of viewer, member, curator, owner."),
        ({"email": "owner@example.com"}, "in this team already, as owner"),
    ],
)
def test_what_cannot_be_added_changes_nothing(
    team: Team, owner: User, fields: dict[str, str], problem: str
) -> None:
    wanted: dict[str, Any] = {"email": "a@example.com", "role": "member"} | fields
    with pytest.raises(CannotChange, match=problem):
        people.add_member(team=team, by=owner, **wanted)
    assert User.objects.count() == 1
    assert not AuditEvent.objects.exists()


def test_a_role_is_changed_once(team: Team, owner: User, teammate: User) -> None:
    membership = member(team, teammate)
    for _ in range(2):
        people.change_role(membership=membership, role="curator", by=owner)
    assert member(team, teammate).role == "curator"
    assert event("member.role").data == {"before": "member", "role": "curator"}
    with pytest.raises(CannotChange, match="A role is one of"):
        people.change_role(membership=membership, role="king", by=owner)


def test_the_last_owner_stays(team: Team, owner: User, teammate: User) -> None:
    last = member(team, owner)
    with pytest.raises(CannotChange, match="last owner"):
        people.change_role(membership=last, role="viewer", by=owner)
    with pytest.raises(CannotChange, match="last owner"):
        people.remove_member(membership=last, by=owner)
    # Somebody who cannot sign in is no other owner.
    people.change_role(membership=member(team, teammate), role="owner", by=owner)
    User.objects.filter(pk=teammate.pk).update(is_active=False)
    with pytest.raises(CannotChange, match="last owner"):
        people.remove_member(membership=last, by=owner)
    User.objects.filter(pk=teammate.pk).update(is_active=True)
    people.change_role(membership=last, role="viewer", by=owner)
    assert member(team, owner).role == "viewer"


def test_who_leaves_takes_no_key_along(
    team: Team, other_team: Team, owner: User, teammate: User
) -> None:
    people.add_member(team=other_team, email=teammate.email, role="member", by=None)
    ours, theirs = api_client(teammate, team), api_client(teammate, other_team)
    people.remove_member(membership=member(team, teammate), by=owner, address=ADDRESS)
    assert ours.get("/v1/files").status_code == 401
    assert theirs.get("/v1/files").status_code == 200
    assert event("member.remove").data == {"role": "member", "revoked_keys": 1}
    # Back in the team, the old key is still out.
    people.add_member(team=team, email=teammate.email, role="member", by=None)
    assert ours.get("/v1/files").status_code == 401


def test_who_is_gone_cannot_be_changed_or_removed(
    team: Team, owner: User, teammate: User
) -> None:
    gone = member(team, teammate)
    people.remove_member(membership=gone, by=owner)
    stale = Membership(pk=10**6, team=team, user=teammate, role="member")
    with pytest.raises(CannotChange, match="not in the team any more"):
        people.change_role(membership=stale, role="owner", by=owner)
    with pytest.raises(CannotChange, match="not in the team any more"):
        people.remove_member(membership=stale, by=owner)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "  "}, "1 to 100 characters"),
        ({"name": "x" * 101}, "1 to 100 characters"),
        ({"scopes": ["files:read", "people:manage"]}, "no scope 'people:manage'"),
        ({"expiry": timedelta(0)}, "ends in the future"),
    ],
)
def test_impossible_keys_are_not_made(
    team: Team, owner: User, fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(CannotChange, match=problem):
        people.create_api_key(team=team, user=owner, **{"name": "ci"} | fields)
    assert not ApiKey.objects.exists()


def test_strangers_get_no_key(team: Team, stranger: User, staff: User) -> None:
    with pytest.raises(CannotChange, match="not in this team"):
        people.create_api_key(team=team, user=stranger, name="ci")
    people.create_api_key(team=team, user=staff, name="ci")


def test_making_and_revoking_a_key_is_told(
    team: Team, owner: User, teammate: User
) -> None:
    token = people.create_api_key(
        team=team,
        user=teammate,
        name=" ci ",
        scopes=["files:write", "files:read", "files:read"],
        expiry=timedelta(days=1),
        by=owner,
        address=ADDRESS,
    )
    key = ApiKey.objects.of_person(teammate).get()
    assert (key.name, key.scopes, key.state) == (
        "ci",
        ["files:read", "files:write"],
        "usable",
    )
    told = event("key.create")
    assert (told.actor, told.target, told.address) == (owner, key.token_key, ADDRESS)
    assert told.data["user"] == teammate.email
    assert told.data["scopes"] == key.scopes
    assert key.expiry is not None
    assert told.data["expires_at"] == key.expiry.isoformat()
    assert token not in str(list(AuditEvent.objects.values()))
    assert people.revoke_api_key(key=key, by=owner, address=ADDRESS)
    assert not people.revoke_api_key(key=key, by=owner)
    assert event("key.revoke").actor == owner
    key.refresh_from_db()
    assert key.state == "revoked"


def test_links_are_mailed_where_the_site_has_a_mail_server(
    settings: Settings, owner: User
) -> None:
    link = "https://batch.example.net" + people.set_password_path(owner)
    settings.BATCHSITE_MAILS = False
    assert not people.mail_password_link(user=owner, link=link)
    assert not mail.outbox
    settings.BATCHSITE_MAILS = True
    assert people.mail_password_link(user=owner, link=link)
    assert mail.outbox[0].to == [owner.email]
    assert link in mail.outbox[0].body
