# SPDX-License-Identifier: Apache-2.0
"""What staff change in the admin is in the audit log."""

from __future__ import annotations

from django.contrib import admin
from django.test import Client

from batchsite.accounts.admin_site import Audited
from batchsite.accounts.models import AuditEvent, Team, User
from jobs.models import SavedView


def last() -> AuditEvent:
    return AuditEvent.objects.filter(action__startswith="admin.").latest("pk")


def inline(prefix: str) -> dict[str, str]:
    """An empty formset of the admin's page."""
    return {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}


def test_every_model_of_the_admin_is_audited() -> None:
    for model_admin in admin.site._registry.values():
        assert isinstance(model_admin, Audited), model_admin


def test_adding_changing_and_deleting_a_team(client: Client, staff: User) -> None:
    client.force_login(staff)
    fields = {"name": "Red", "weight": "2", **inline("memberships")}
    r = client.post("/admin/accounts/team/add/", fields, REMOTE_ADDR="192.0.2.7")
    assert r.status_code == 302
    team = Team.objects.get()
    event = last()
    assert (event.action, event.actor, event.team) == ("admin.add", staff, team)
    assert (event.target, event.address) == ("team Red", "192.0.2.7")
    assert event.data == {"model": "accounts.team", "id": str(team.pk)}

    fields |= {"name": "Reds", "max_queued_requests": "5"}
    client.post(f"/admin/accounts/team/{team.pk}/change/", fields)
    event = last()
    assert (event.action, event.target) == ("admin.change", "team Reds")
    assert event.data["changes"] == [
        {"changed": {"fields": ["Name", "Max queued requests"]}}
    ]

    client.post(f"/admin/accounts/team/{team.pk}/delete/", {"post": "yes"})
    assert not Team.objects.exists()
    event = last()
    assert (event.action, event.target, event.team) == (
        "admin.delete",
        "team Reds",
        None,
    )


def test_deleting_many_at_once_names_each(
    client: Client, staff: User, owner: User
) -> None:
    client.force_login(staff)
    views = [
        SavedView.objects.create(user=owner, name=name, query="status=failed")
        for name in ("late", "mine")
    ]
    forget = {
        "action": "delete_selected",
        "_selected_action": [view.pk for view in views],
    }

    asked = client.post("/admin/jobs/savedview/", forget)
    assert "Are you sure" in asked.content.decode()
    assert SavedView.objects.count() == 2

    client.post("/admin/jobs/savedview/", forget | {"post": "yes"})
    assert not SavedView.objects.exists()
    deleted = AuditEvent.objects.filter(action="admin.delete")
    assert sorted(deleted.values_list("target", flat=True)) == [
        "saved view late",
        "saved view mine",
    ]


def test_a_row_of_a_team_carries_it(
    client: Client, staff: User, team: Team, owner: User
) -> None:
    client.force_login(staff)
    fields = {"team": team.pk, "user": owner.pk, "name": "ci"}
    client.post("/admin/accounts/apikey/add/", fields)
    assert (last().action, last().team) == ("admin.add", team)


def test_a_password_set_in_the_admin_is_named_and_not_kept(
    client: Client, staff: User, teammate: User
) -> None:
    client.force_login(staff)
    secret = "correct horse battery"
    client.post(
        f"/admin/accounts/user/{teammate.pk}/password/",
        {"password1": secret, "password2": secret, "usable_password": "true"},
    )
    teammate.refresh_from_db()
    assert teammate.check_password(secret)
    assert last().target == "user teammate@example.com"
    assert secret not in str(list(AuditEvent.objects.values()))
