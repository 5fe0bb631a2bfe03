# SPDX-License-Identifier: Apache-2.0
"""Operations on people, teams and keys that commands, pages and the API share."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from .models import ApiKey, AuditEvent, Membership, Team, User

RANK = {role: rank for rank, role in enumerate(Membership.Role.values)}


def ensure_member(*, team_name: str, email: str, role: str = "owner") -> Membership:
    """The person's membership in the team, either made when missing.

    A made person has no usable password until one is set. An existing membership
    keeps its role.
    """
    with transaction.atomic():
        team, _ = Team.objects.get_or_create(name=team_name)
        user = User.objects.filter(email=email.lower()).first()
        if user is None:
            user = User.objects.create_user(email)
        membership, _ = Membership.objects.get_or_create(
            user=user, team=team, defaults={"role": role}
        )
    return membership


def create_api_key(*, team: Team, user: User, name: str, **fields: Any) -> str:
    """Make a key for the team and return its token, which nobody can read again."""
    with transaction.atomic():
        key, token = ApiKey.objects.create(user, team=team, name=name, **fields)
        record(action="key.create", actor=user, team=team, target=key.token_key)
    return str(token)


def role_in(user: User, team: Team) -> str | None:
    """The user's role in the team; owner for staff; None for strangers."""
    if user.is_staff:
        return Membership.Role.OWNER
    return (
        Membership.objects.filter(user=user, team=team)
        .values_list("role", flat=True)
        .first()
    )


def may(user: User, team: Team, needed: str) -> bool:
    """Whether the user holds that role in the team, or a higher one."""
    role = role_in(user, team)
    return role is not None and RANK[role] >= RANK[needed]


def record(
    *,
    action: str,
    actor: User | None,
    team: Team | None = None,
    target: str = "",
    address: str | None = None,
    **data: Any,
) -> None:
    """Append one line to the audit log."""
    AuditEvent.objects.create(
        action=action,
        actor=actor,
        team=team,
        target=target,
        address=address,
        data=data,
    )
