# SPDX-License-Identifier: Apache-2.0
"""People, teams, roles and keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from batchsite.accounts.models import (
    ApiKey,
    AuditEvent,
    Installation,
    Membership,
    Team,
    User,
)
from batchsite.accounts.people import create_api_key, ensure_member


def test_a_member_is_made_once_and_keeps_the_role(db: None) -> None:
    first = ensure_member(team_name="Red", email="Ann@Example.com", role="viewer")
    again = ensure_member(team_name="Red", email="ann@example.COM", role="owner")
    assert again == first
    assert again.role == "viewer"
    assert User.objects.get().email == "ann@example.com"
    assert not first.user.has_usable_password()


def test_sign_in_ignores_the_case_of_the_address(db: None) -> None:
    User.objects.create_user("Ann@example.com", "a long password")
    assert User.objects.get_by_natural_key("ANN@example.com").check_password(
        "a long password"
    )
    with pytest.raises(ValueError, match="needs an e-mail address"):
        User.objects.create_user("")


def test_teams_are_visible_to_their_people(
    team: Team, other_team: Team, owner: User, staff: User
) -> None:
    assert list(Team.objects.visible_to(owner)) == [team]
    assert list(Team.objects.visible_to(staff)) == [team, other_team]


def test_only_the_hash_of_a_key_is_kept(team: Team, owner: User) -> None:
    token = create_api_key(team=team, user=owner, name="ci", by=owner)
    key = ApiKey.objects.get()
    assert token.startswith("sk-bs-")
    assert len(token) == 6 + 64
    columns = ApiKey.objects.values().get()
    assert not any(token in str(value) for value in columns.values())
    event = AuditEvent.objects.get(action="key.create")
    assert (event.actor, event.team, event.target) == (owner, team, key.token_key)
    assert token not in f"{key} {event}"


@pytest.mark.parametrize(
    ("column", "usable"),
    [
        ({}, True),
        ({"expiry": timezone.now() + timedelta(hours=1)}, True),
        ({"expiry": timezone.now() - timedelta(seconds=1)}, False),
        ({"revoked_at": timezone.now()}, False),
    ],
)
def test_usable_keys(
    team: Team, owner: User, column: dict[str, Any], usable: bool
) -> None:
    create_api_key(team=team, user=owner, name="ci")
    ApiKey.objects.update(**column)
    assert ApiKey.objects.usable().exists() == usable
    User.objects.update(is_active=False)
    assert not ApiKey.objects.usable().exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Team.objects.create(name="Blue"),
        lambda: Team.objects.create(name=""),
        lambda: Team.objects.create(name="Red", weight=0),
        lambda: User.objects.create_user("owner@example.com"),
        lambda: ensure_member(team_name="Blue", email="a@example.com", role="king"),
        lambda: Membership.objects.create(
            user=User.objects.get(), team=Team.objects.get()
        ),
        lambda: Installation.objects.create(pk=2),
    ],
    ids=["same team", "no name", "no weight", "same user", "role", "twice", "two"],
)
def test_the_database_refuses_impossible_rows(
    owner: User, make: Callable[[], object]
) -> None:
    with pytest.raises(IntegrityError):
        make()
