# SPDX-License-Identifier: Apache-2.0
"""What roles and scopes allow."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from pytest_django import DjangoAssertNumQueries

from batchsite.accounts import permissions
from batchsite.accounts.models import ApiKey, Membership, Team, User
from batchsite.accounts.people import create_api_key, ensure_member

ROLES = ["viewer", "member", "curator", "owner"]


def key_of(role: str, *scopes: str) -> ApiKey:
    """A key of somebody with that role in team Blue."""
    membership = ensure_member(team_name="Blue", email=f"{role}@example.com", role=role)
    create_api_key(
        team=membership.team, user=membership.user, name="test", scopes=scopes
    )
    key: ApiKey = ApiKey.objects.get()
    return key


@pytest.mark.parametrize("role", ROLES)
def test_a_right_is_held_from_a_role_upwards(team: Team, role: str) -> None:
    user = ensure_member(team_name="Blue", email="a@example.com", role=role).user
    for right, needed in permissions.RIGHTS.items():
        held = ROLES.index(role) >= ROLES.index(needed)
        assert permissions.user_may(user, team, right) == held
        if held:
            permissions.require(user, team, right)
        else:
            with pytest.raises(PermissionDenied, match="of a team"):
                permissions.require(user, team, right)


def test_strangers_hold_nothing_and_staff_everything(
    team: Team, stranger: User, staff: User
) -> None:
    for right in permissions.RIGHTS:
        assert not permissions.user_may(stranger, team, right)
        assert permissions.user_may(staff, team, right)


def test_an_unknown_right_is_a_mistake(team: Team, owner: User) -> None:
    with pytest.raises(KeyError):
        permissions.user_may(owner, team, "files:burn")


@pytest.mark.parametrize("role", ROLES)
def test_a_key_never_has_more_rights_than_its_person(db: None, role: str) -> None:
    key = key_of(role)
    for right in permissions.RIGHTS:
        by_role = permissions.user_may(key.user, key.team, right)
        key.scopes = []
        assert permissions.key_may(key, right) == by_role
        for scope in permissions.SCOPES:
            key.scopes = [scope]
            assert permissions.key_may(key, right) <= by_role


@pytest.mark.parametrize(
    ("scope", "held"),
    [
        ("files:read", {"files:read"}),
        ("files:write", {"files:read", "files:write"}),
        ("batches:write", {"batches:read", "batches:write"}),
        ("curation:read", {"curation:read"}),
    ],
)
def test_write_includes_read_and_nothing_of_other_areas(
    db: None, scope: str, held: set[str]
) -> None:
    key = key_of("owner", scope)
    assert {s for s in permissions.SCOPES if permissions.key_may(key, s)} == held
    # The list of models is every key's.
    assert permissions.key_may(key, "models:read")


def test_a_key_fetched_with_its_role_needs_no_query(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    key_of("member")
    key = ApiKey.objects.with_role().select_related("user", "team").get()
    with django_assert_num_queries(0):
        assert permissions.role_of_key(key) == "member"
    Membership.objects.all().delete()
    assert ApiKey.objects.with_role().get().held_role is None


def test_every_scope_is_a_right() -> None:
    assert set(permissions.SCOPES) <= set(permissions.RIGHTS)
    assert permissions.unknown_scopes(["files:read", "files", "people:manage"]) == [
        "files",
        "people:manage",
    ]
