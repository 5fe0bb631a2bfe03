# SPDX-License-Identifier: Apache-2.0
"""What the admin leaves to a team's own page, and to superusers."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from batchsite.accounts.models import ApiKey, Membership, Team, User
from batchsite.accounts.people import create_api_key

USERS = "/admin/accounts/user/"
SECRET = "correct horse battery"


@pytest.fixture
def clerk(client: Client, db: None) -> User:
    """Signed in; staff that may do everything to people, and is no superuser."""
    user = User.objects.create_user("clerk@example.com", SECRET, is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="accounts")
    )
    client.force_login(user)
    return user


def posted(user: User, **over: str) -> dict[str, str]:
    return {
        "email": user.email,
        "is_active": "on",
        "date_joined_0": "2030-01-01",
        "date_joined_1": "00:00:00",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
        **over,
    }


def test_memberships_are_shown_and_change_on_the_teams_page(
    client: Client, staff: User, team: Team, owner: User, teammate: User
) -> None:
    create_api_key(team=team, user=owner, name="ci")
    client.force_login(staff)
    row = Membership.objects.get(user=owner)
    page = f"/admin/accounts/membership/{row.pk}/"

    for shown in (f"{page}change/", f"/admin/accounts/team/{team.pk}/change/"):
        assert f'href="/teams/{team.pk}/people/"' in client.get(shown).content.decode()
    tries = [
        client.post(f"{page}change/", {"role": "viewer"}),
        client.post(f"{page}delete/", {"post": "yes"}),
        client.post("/admin/accounts/membership/add/", {}),
    ]
    assert [r.status_code for r in tries] == [403, 403, 403]
    client.post(
        f"{USERS}{owner.pk}/change/",
        posted(
            owner,
            **{
                "memberships-TOTAL_FORMS": "1",
                "memberships-INITIAL_FORMS": "1",
                "memberships-0-id": str(row.pk),
                "memberships-0-user": str(owner.pk),
                "memberships-0-team": str(team.pk),
                "memberships-0-role": "viewer",
                "memberships-0-DELETE": "on",
            },
        ),
    )
    row.refresh_from_db()
    assert row.role == "owner"
    assert ApiKey.objects.usable().count() == 1


def test_a_team_with_people_can_still_be_deleted(
    client: Client, staff: User, team: Team, owner: User
) -> None:
    client.force_login(staff)
    client.post(f"/admin/accounts/team/{team.pk}/delete/", {"post": "yes"})
    assert not Team.objects.exists()


def test_staff_give_no_rights(client: Client, clerk: User, teammate: User) -> None:
    fields = posted(teammate, first_name="Ann", is_staff="on", is_superuser="on")
    r = client.post(f"{USERS}{teammate.pk}/change/", fields)
    assert r.status_code == 302
    teammate.refresh_from_db()
    assert teammate.first_name == "Ann"
    assert not (teammate.is_staff or teammate.is_superuser)


def test_staff_touch_no_one_with_rights(
    client: Client, clerk: User, staff: User, teammate: User
) -> None:
    waiting = Group.objects.create(name="helpers")
    teammate.groups.add(waiting)
    for other in (staff, clerk, teammate):
        before = (other.email, other.password, other.is_superuser)
        own = f"{USERS}{other.pk}/"
        tries = [
            client.post(f"{own}change/", posted(other, is_superuser="on")),
            client.post(
                f"{own}password/",
                {"password1": SECRET, "password2": SECRET, "usable_password": "true"},
            ),
            client.post(f"{own}delete/", {"post": "yes"}),
        ]
        assert [r.status_code for r in tries] == [403, 403, 403]
        other.refresh_from_db()
        assert (other.email, other.password, other.is_superuser) == before
    client.post(
        USERS,
        {"action": "delete_selected", "_selected_action": [staff.pk], "post": "yes"},
    )
    assert User.objects.filter(pk=staff.pk).exists()


def test_superusers_give_rights(client: Client, staff: User, teammate: User) -> None:
    client.force_login(staff)
    client.post(f"{USERS}{teammate.pk}/change/", posted(teammate, is_staff="on"))
    teammate.refresh_from_db()
    assert teammate.is_staff
