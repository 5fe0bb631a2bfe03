# SPDX-License-Identifier: Apache-2.0
"""The people of a team in the browser."""

from __future__ import annotations

import re

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from batchsite.accounts.models import AuditEvent, Membership, Team, User
from batchsite.accounts.people import create_api_key, ensure_member

LINK = re.compile(r"http://testserver(/set-password/[^/]+/[^/]+/)")


def membership(user: User) -> Membership:
    return Membership.objects.get(user=user)


def add(client: Client, team: Team, email: str, role: str = "member") -> str:
    """Add somebody; the text of the page that follows."""
    r = client.post(
        f"/teams/{team.pk}/people/add/", {"email": email, "role": role}, follow=True
    )
    assert r.status_code == 200
    return r.content.decode()


def test_a_team_opens_with_its_people(
    client: Client, team: Team, owner: User, teammate: User
) -> None:
    create_api_key(team=team, user=teammate, name="one")
    create_api_key(team=team, user=teammate, name="two")
    client.force_login(teammate)

    assert client.get(f"/teams/{team.pk}/")["Location"] == f"/teams/{team.pk}/people/"
    page = client.get(f"/teams/{team.pk}/people/").content.decode()

    assert "2 people" in page
    assert "owner@example.com" in page
    assert re.search(r'data-label="keys" class="number">2<', page)
    # A member sees, and finds nothing to change.
    assert "Remove…" not in page
    assert "Add a person" not in page
    assert "Audit log" not in page


def test_the_list_costs_the_same_for_many_people(
    client: Client, team: Team, owner: User, teammate: User
) -> None:
    client.force_login(owner)
    queries = []
    for last in (1, 30):
        for number in range(last):
            email = f"p{number}@example.com"
            ensure_member(team_name="Blue", email=email, role="viewer")
        with CaptureQueriesContext(connection) as captured:
            page = client.get(f"/teams/{team.pk}/people/").content.decode()
        queries.append(len(captured))

    assert "32 people" in page
    assert queries[0] == queries[1]


def test_somebody_new_gets_a_link_that_is_shown_once(
    client: Client, team: Team, owner: User
) -> None:
    client.force_login(owner)

    page = add(client, team, "New@example.com", "curator")
    again = client.get(f"/teams/{team.pk}/people/").content.decode()

    found = LINK.search(page)
    assert found
    assert not LINK.search(again)
    made = User.objects.get(email="new@example.com")
    assert membership(made).role == "curator"
    assert not made.has_usable_password()
    # The address leads to a form, on which the token is not in the address any more.
    stranger = Client()
    opened = stranger.get(found[1], follow=True)
    assert opened.redirect_chain[0][0].endswith("/set-password/")
    assert "for new@example.com" in opened.content.decode()


def test_somebody_known_is_in_the_team_at_once(
    client: Client, team: Team, owner: User, stranger: User
) -> None:
    client.force_login(owner)

    page = add(client, team, "stranger@example.com", "viewer")

    assert "stranger@example.com is in the team now." in page
    assert not LINK.search(page)
    assert Membership.objects.filter(user=stranger, team=team, role="viewer").exists()


def test_adding_twice_says_so_beside_the_field(
    client: Client, team: Team, owner: User
) -> None:
    client.force_login(owner)
    add(client, team, "new@example.com")

    page = add(client, team, "NEW@example.com", "owner")

    assert "new@example.com is in this team already" in page
    assert 'aria-describedby="person_email_error"' in page
    assert not LINK.search(page)
    assert membership(User.objects.get(email="new@example.com")).role == "member"


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "nobody", "role": "member"},
        {"email": "", "role": "member"},
        {"email": "a@example.com", "role": "king"},
        {"email": "a\0@example.com", "role": "member"},
        {},
    ],
)
def test_bad_fields_add_nobody(
    client: Client, team: Team, owner: User, fields: dict[str, str]
) -> None:
    client.force_login(owner)

    r = client.post(f"/teams/{team.pk}/people/add/", fields)

    assert r.status_code == 200
    assert 'class="errorlist"' in r.content.decode()
    assert User.objects.count() == 1


def test_a_site_with_a_mail_server_also_mails_the_link(
    client: Client, team: Team, owner: User, settings: Settings
) -> None:
    settings.BATCHSITE_MAILS = True
    client.force_login(owner)

    page = add(client, team, "new@example.com")

    assert "also mailed to new@example.com" in page
    assert LINK.search(page)
    assert mail.outbox[0].to == ["new@example.com"]
    assert LINK.search(str(mail.outbox[0].body))


def test_a_new_link_for_somebody_who_never_signed_in(
    client: Client, team: Team, owner: User, teammate: User
) -> None:
    client.force_login(owner)
    address = f"/teams/{team.pk}/people/{membership(teammate).pk}/link/"

    first = client.post(address, follow=True).content.decode()
    User.objects.filter(pk=teammate.pk).update(last_login=timezone.now())
    late = client.post(address, follow=True).content.decode()

    assert LINK.search(first)
    assert not LINK.search(late)
    assert "has a password already" in late
    assert AuditEvent.objects.get(action="member.link").target == teammate.email


@pytest.mark.parametrize("elsewhere", ["team", "staff", "password"])
def test_a_link_never_opens_more_than_the_owners_own_teams(
    client: Client, team: Team, other_team: Team, owner: User, elsewhere: str
) -> None:
    # Whoever holds a link becomes that person: of another team, staff, or somebody
    # whose account was made with a password and is in no team yet.
    victim = User.objects.create_user("victim@example.com")
    if elsewhere == "staff":
        User.objects.filter(pk=victim.pk).update(is_staff=True)
    elif elsewhere == "password":
        victim.set_password("a long enough secret")
        victim.save(update_fields=["password"])
    else:
        ensure_member(team_name=other_team.name, email=victim.email)
    client.force_login(owner)

    added = add(client, team, victim.email)
    member = Membership.objects.get(user=victim, team=team)
    asked = client.post(f"/teams/{team.pk}/people/{member.pk}/link/", follow=True)

    assert not LINK.search(added)
    assert not LINK.search(asked.content.decode())
    assert "New link" not in asked.content.decode()


def test_a_role_is_changed(
    client: Client, team: Team, owner: User, teammate: User
) -> None:
    client.force_login(owner)
    address = f"/teams/{team.pk}/people/{membership(teammate).pk}/role/"

    for _ in range(2):
        r = client.post(address, {"role": "viewer"}, follow=True)
        assert "teammate@example.com is viewer now." in r.content.decode()
    bad = client.post(address, {"role": "king"}, follow=True)

    assert membership(teammate).role == "viewer"
    assert "Choose one of the roles." in bad.content.decode()
    # The second time changed nothing.
    assert AuditEvent.objects.filter(action="member.role").count() == 1


def test_the_last_owner_stays_and_the_page_says_why(
    client: Client, team: Team, owner: User, teammate: User
) -> None:
    client.force_login(owner)
    own = f"/teams/{team.pk}/people/{membership(owner).pk}"

    page = client.get(f"/teams/{team.pk}/people/").content.decode()
    demoted = client.post(f"{own}/role/", {"role": "member"}, follow=True)
    removed = client.post(f"{own}/remove/", follow=True)

    assert "make somebody else owner first" in page
    assert f"{own}/remove/" not in page
    for r in (demoted, removed):
        assert "is the last owner of this team" in r.content.decode()
    assert membership(owner).role == "owner"

    client.post(
        f"/teams/{team.pk}/people/{membership(teammate).pk}/role/", {"role": "owner"}
    )
    gone = client.post(f"{own}/remove/", follow=True)
    # Who left sees the team no more.
    assert "You are in no team" in gone.content.decode()
    assert client.get(f"/teams/{team.pk}/people/").status_code == 404


def test_removing_somebody_stops_their_keys(
    client: Client, team: Team, owner: User, teammate: User
) -> None:
    create_api_key(team=team, user=teammate, name="one")
    client.force_login(owner)
    address = f"/teams/{team.pk}/people/{membership(teammate).pk}/remove/"

    asked = client.get(f"/teams/{team.pk}/people/").content.decode()
    r = client.post(address, follow=True)
    again = client.post(address, follow=True)

    assert "One API key stops at once." in asked
    assert "teammate@example.com is out of the team." in r.content.decode()
    assert "not in the team any more" in again.content.decode()
    assert not Membership.objects.filter(user=teammate).exists()
    assert AuditEvent.objects.filter(action="member.remove").count() == 1


@pytest.mark.parametrize("what", ["add", "{pk}/role", "{pk}/remove", "{pk}/link"])
def test_only_owners_change_people(
    client: Client,
    team: Team,
    other_team: Team,
    owner: User,
    teammate: User,
    stranger: User,
    staff: User,
    what: str,
) -> None:
    path = f"people/{what.format(pk=membership(teammate).pk)}/"
    fields = {"email": "x@example.com", "role": "viewer"}

    signed_out = client.post(f"/teams/{team.pk}/{path}", fields)
    assert signed_out["Location"].startswith("/login/?next=")
    client.force_login(teammate)
    assert client.post(f"/teams/{team.pk}/{path}", fields).status_code == 403
    client.force_login(stranger)
    assert client.post(f"/teams/{team.pk}/{path}", fields).status_code == 404
    client.force_login(owner)
    assert client.get(f"/teams/{team.pk}/{path}").status_code == 405
    assert client.post(f"/teams/{other_team.pk}/{path}", fields).status_code == 404
    assert membership(teammate).role == "member"
    client.force_login(staff)
    assert client.post(f"/teams/{team.pk}/{path}", fields).status_code == 302


def test_a_member_of_another_team_is_not_reached_through_ones_own(
    client: Client, team: Team, owner: User, stranger: User
) -> None:
    client.force_login(owner)
    foreign = f"/teams/{team.pk}/people/{membership(stranger).pk}"

    assert client.post(f"{foreign}/role/", {"role": "viewer"}).status_code == 404
    assert client.post(f"{foreign}/link/").status_code == 404
    client.post(f"{foreign}/remove/")
    assert membership(stranger).role == "owner"


def test_teams_lists_them_where_there_are_several(
    client: Client, team: Team, other_team: Team, owner: User, staff: User
) -> None:
    client.force_login(owner)
    assert client.get("/teams/")["Location"] == f"/teams/{team.pk}/"

    ensure_member(team_name="Green", email=owner.email, role="viewer")
    page = client.get("/teams/").content.decode()
    assert page.index("Blue") < page.index("Green")
    assert "viewer" in page
    switcher = client.get(f"/teams/{team.pk}/people/").content.decode()
    assert f'href="/teams/{other_team.pk}/"' in switcher

    client.force_login(staff)
    assert "Green" in client.get("/teams/").content.decode()
    assert "Blue" not in client.get("/teams/?q=gree").content.decode()
    assert "No team is called" in client.get("/teams/?q=x%00y").content.decode()


@pytest.mark.parametrize("path", ["/teams/99999999999999999999/people/", "/teams/0/"])
def test_teams_that_never_were_are_404(client: Client, owner: User, path: str) -> None:
    client.force_login(owner)
    assert client.get(path).status_code == 404
