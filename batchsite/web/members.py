# SPDX-License-Identifier: Apache-2.0
"""The people of a team: who they are, and for owners adding, changing, removing."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST, require_safe

from batchsite.accounts import invitations, people
from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import Membership, Team
from batchsite.accounts.permissions import user_may
from jobs.access import person
from jobs.web.conditional import page

from .forms import PersonForm, RoleForm
from .team import get_team, get_team_for

logger = logging.getLogger(__name__)
PEOPLE = 50
# The membership whose link the next view of the page shows, once.
LINK_FOR = "invitation_for"


@require_safe
@login_required
def people_list(request: HttpRequest, team: int) -> HttpResponse:
    """The members of the team; a link that was just asked for is shown this once."""
    return _page(request, get_team(request, team), PersonForm(auto_id="person_%s"))


def _page(request: HttpRequest, team: Team, form: PersonForm) -> HttpResponse:
    user = person(request)
    if form.errors:
        # The form stands below the people: the browser goes there.
        form.fields["email"].widget.attrs["autofocus"] = True
    manages = user_may(user, team, "people:manage")
    rows = Paginator(_with_keys(team), PEOPLE).get_page(request.GET.get("page"))
    ctx: dict[str, Any] = {
        "team": team,
        "rows": rows,
        "manages": manages,
        "roles": Membership.Role.values,
        "owners": team.memberships.filter(
            role=Membership.Role.OWNER, user__is_active=True
        ).count(),
        "form": form,
    }
    if manages:
        ctx["invitable"] = set(
            invitations.invitable(by=user)
            .filter(memberships__in=[row.pk for row in rows])
            .values_list("pk", flat=True)
        )
        ctx |= _link(request, team)
    response = page(request, "site/team_people.html", ctx)
    if "link" in ctx:
        response["Cache-Control"] = "no-store, private"
    return response


def _with_keys(team: Team) -> QuerySet[Membership]:
    """The members by address, each with the number of keys that work."""
    working = Q(
        Q(user__auth_token_set__expiry=None)
        | Q(user__auth_token_set__expiry__gt=Now()),
        user__auth_token_set__team=team,
        user__auth_token_set__revoked_at=None,
    )
    return (
        team.memberships.select_related("user")
        .annotate(keys=Count("user__auth_token_set", filter=working))
        .order_by("user__email")
    )


def _link(request: HttpRequest, team: Team) -> dict[str, Any]:
    """The link that was asked for before this page, if any; it is not kept anywhere."""
    pk = request.session.pop(LINK_FOR, None)
    user = person(request)
    member = team.memberships.filter(
        pk=pk, user__in=invitations.invitable(by=user)
    ).first()
    if member is None:
        return {}
    return {
        "link": request.build_absolute_uri(people.set_password_path(member.user)),
        "link_for": member.user,
        "link_days": settings.PASSWORD_RESET_TIMEOUT // 86_400,
    }


@require_POST
@login_required
def person_add(request: HttpRequest, team: int) -> HttpResponse:
    """Add somebody by e-mail address; a new person gets a link, shown once."""
    found = get_team_for(request, team, "people:manage")
    form = PersonForm(request.POST, auto_id="person_%s")
    if not form.is_valid():
        return _page(request, found, form)
    try:
        membership = people.add_member(
            team=found,
            email=form.cleaned_data["email"],
            role=form.cleaned_data["role"],
            by=person(request),
            address=client_address(request),
        )
    except people.CannotChange as refused:
        form.add_error("email", str(refused))
        return _page(request, found, form)
    if not _invite(request, membership):
        messages.success(request, f"{membership.user.email} is in the team now.")
    return redirect("team-people", team=found.pk)


def _invite(request: HttpRequest, membership: Membership) -> bool:
    """Have the next page show the link, and mail it where the site can; False for
    those to whom the person may give none.
    """
    user = membership.user
    if not invitations.invitable(by=person(request)).filter(pk=user.pk).exists():
        return False
    request.session[LINK_FOR] = membership.pk
    link = request.build_absolute_uri(people.set_password_path(user))
    try:
        if people.mail_password_link(user=user, link=link):
            messages.success(request, f"The link was also mailed to {user.email}.")
    except OSError:
        logger.warning("mail_failed", exc_info=True)
        messages.warning(request, "The mail with the link could not be sent.")
    return True


def _member(request: HttpRequest, team: int, pk: int) -> Membership:
    found = get_team_for(request, team, "people:manage")
    return get_object_or_404(found.memberships.select_related("user", "team"), pk=pk)


@require_POST
@login_required
def person_role(request: HttpRequest, team: int, member: int) -> HttpResponse:
    """Give a member another role; the last owner keeps it."""
    membership = _member(request, team, member)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose one of the roles.")
        return redirect("team-people", team=team)
    role = form.cleaned_data["role"]
    try:
        people.change_role(
            membership=membership,
            role=role,
            by=person(request),
            address=client_address(request),
        )
    except people.CannotChange as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, f"{membership.user.email} is {role} now.")
    return redirect("team-people", team=team)


@require_POST
@login_required
def person_remove(request: HttpRequest, team: int, member: int) -> HttpResponse:
    """Take somebody out of the team; their keys stop at once. The last owner stays."""
    found = get_team_for(request, team, "people:manage")
    gone = found.memberships.select_related("user", "team").filter(pk=member).first()
    if gone is None:
        messages.info(request, "This person is not in the team any more.")
        return redirect("team-people", team=team)
    try:
        people.remove_member(
            membership=gone, by=person(request), address=client_address(request)
        )
    except people.CannotChange as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, f"{gone.user.email} is out of the team.")
    stays = Team.objects.visible_to(person(request)).filter(pk=found.pk).exists()
    return redirect("team-people", team=team) if stays else redirect("team-list")


@require_POST
@login_required
def person_link(request: HttpRequest, team: int, member: int) -> HttpResponse:
    """Show a new link for somebody who has no password yet."""
    membership = _member(request, team, member)
    if not _invite(request, membership):
        messages.warning(
            request,
            f"{membership.user.email} has a password already, or is in teams that you"
            " do not own; staff can set a new one.",
        )
        return redirect("team-people", team=team)
    people.record(
        action="member.link",
        actor=person(request),
        team=membership.team,
        target=membership.user.email,
        address=client_address(request),
    )
    return redirect("team-people", team=team)
