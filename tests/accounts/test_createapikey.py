# SPDX-License-Identifier: Apache-2.0
"""manage.py createapikey."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from batchsite.accounts.models import ApiKey, AuditEvent, Membership, Team, User


def createapikey(
    team: str = "Blue",
    user: str = "ann@example.com",
    name: str = "ci",
    more: Sequence[str] = (),
) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(
        "createapikey",
        *(f"--team={team}", f"--user={user}", f"--name={name}"),
        *more,
        stdout=out,
        stderr=err,
    )
    return out.getvalue(), err.getvalue()


def test_the_key_is_alone_on_the_last_line_and_works(client: Client, db: None) -> None:
    out, err = createapikey()
    token = out.splitlines()[-1]
    assert out == f"{token}\n"
    assert token not in err
    assert "Blue" in err
    headers = {"authorization": f"Bearer {token}"}
    assert client.get("/v1/files", headers=headers).status_code == 200
    membership = Membership.objects.get()
    assert (membership.team.name, membership.user.email, membership.role) == (
        "Blue",
        "ann@example.com",
        "owner",
    )


def test_it_is_said_how_a_new_person_can_sign_in(db: None) -> None:
    _, err = createapikey(team="Team Blue")
    assert "manage.py addmember --team 'Team Blue' --user ann@example.com" in err
    User.objects.create_user("bob@example.com", "a long enough secret")
    _, err = createapikey(user="bob@example.com")
    assert "addmember" not in err


def test_the_log_does_not_say_that_the_person_made_the_key(db: None) -> None:
    createapikey()
    event = AuditEvent.objects.get(action="key.create")
    assert (event.actor, event.data["user"]) == (None, "ann@example.com")


def test_what_exists_is_used(team: Team, viewer: User) -> None:
    createapikey(user="Viewer@example.com", name=" second ")
    key = ApiKey.objects.get()
    assert (key.team, key.user, key.name) == (team, viewer, "second")
    assert Membership.objects.get(user=viewer).role == "viewer"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"user": "nobody"}, "--user must be an e-mail address"),
        ({"team": " "}, "--team must have 1 to 100 characters"),
        ({"team": "x" * 101}, "--team must have 1 to 100 characters"),
        ({"name": ""}, "--name must have 1 to 100 characters"),
    ],
)
def test_wrong_options_make_nothing(
    db: None, options: dict[str, str], problem: str
) -> None:
    with pytest.raises(CommandError, match=problem):
        createapikey(**options)
    assert not Team.objects.exists()
    assert not User.objects.exists()


def test_scopes_and_an_end(db: None) -> None:
    createapikey(
        more=["--scope=files:read", "--scope=batches:write", "--expires-in-days=30"]
    )
    key = ApiKey.objects.get()
    assert key.scopes == ["batches:write", "files:read"]
    assert key.expiry is not None
    assert timedelta(days=29) < key.expiry - timezone.now() <= timedelta(days=30)


@pytest.mark.parametrize(
    "more", [["--scope=people:manage"], ["--expires-in-days=0"], ["--scope=files"]]
)
def test_unknown_scopes_and_ends_in_the_past_are_refused(
    db: None, more: list[str]
) -> None:
    with pytest.raises(CommandError):
        createapikey(more=more)
    assert not Team.objects.exists()
