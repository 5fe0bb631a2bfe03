# SPDX-License-Identifier: Apache-2.0
"""The one place that decides what a person or an API key may do in a team.

A right is "<area>:<what>". RIGHTS gives the lowest role that holds it; the areas in
AREAS are also the scopes of API keys. What somebody may see at all is decided by the
querysets' `visible_to`; an object that is seen is then checked here.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet

from .models import ApiKey, Membership, Team, User

Role = Membership.Role
RANK = {role: rank for rank, role in enumerate(Role.values)}

# The parts of the product that a key can be limited to, and all scopes of a key.
AREAS = ("files", "batches", "curation", "benchmarks")
SCOPES = tuple(f"{area}:{what}" for area in AREAS for what in ("read", "write"))

RIGHTS: dict[str, str] = {
    "files:read": Role.VIEWER,
    "files:write": Role.MEMBER,
    "batches:read": Role.VIEWER,
    "batches:write": Role.MEMBER,
    "curation:read": Role.VIEWER,
    "curation:write": Role.CURATOR,
    "benchmarks:read": Role.VIEWER,
    "benchmarks:write": Role.MEMBER,
    "models:read": Role.VIEWER,
    "people:read": Role.VIEWER,
    "people:manage": Role.OWNER,
    "keys:manage": Role.OWNER,
    "usage:read": Role.VIEWER,
    "webhooks:read": Role.MEMBER,
    "webhooks:manage": Role.OWNER,
    "audit:read": Role.OWNER,
}
REFUSALS = {
    Role.MEMBER: "Viewers of a team only read.",
    Role.CURATOR: "Only curators and owners of a team may do this.",
    Role.OWNER: "Only the owners of a team may do this.",
}
# Where the words for the role would say something else.
REFUSALS_OF_RIGHTS = {
    "webhooks:read": "The webhooks of a team are for its members; viewers do not see them."
}


def role_in(user: User, team: Team) -> str | None:
    """The user's role in the team; owner for staff; None for strangers."""
    if user.is_staff:
        return Role.OWNER
    return (
        Membership.objects.filter(user=user, team=team)
        .values_list("role", flat=True)
        .first()
    )


def role_of_key(key: ApiKey) -> str | None:
    """The role of the key's person in the key's team, without a query if it is known."""
    if key.user.is_staff:
        return Role.OWNER
    if "held_role" in key.__dict__:
        held: str | None = key.__dict__["held_role"]
        return held
    return role_in(key.user, key.team)


def at_least(role: str | None, needed: str) -> bool:
    """Whether a role includes another one; None, of strangers, includes nothing."""
    return role is not None and RANK[role] >= RANK[needed]


def user_may(user: User, team: Team, right: str) -> bool:
    """Whether the person holds that right (a key of RIGHTS) in the team."""
    return at_least(role_in(user, team), RIGHTS[right])


def teams_where(user: User, right: str) -> QuerySet[Team]:
    """The teams in which the person holds that right, by name; all of them for staff."""
    if user.is_staff:
        return Team.objects.all()
    roles = [role for role in Role.values if at_least(role, RIGHTS[right])]
    held = Membership.objects.filter(user=user, role__in=roles)
    return Team.objects.filter(pk__in=held.values("team"))


def key_may(key: ApiKey, right: str) -> bool:
    """Whether the key holds that right in its team: its person does, and its scopes do."""
    return at_least(role_of_key(key), RIGHTS[right]) and in_scope(key, right)


def in_scope(key: ApiKey, right: str) -> bool:
    """Whether the key's scopes include the right; a key without scopes has all of them.

    "files:write" includes "files:read". Rights outside AREAS need no scope.
    """
    area, _, what = right.partition(":")
    if area not in AREAS or not key.scopes:
        return True
    return right in key.scopes or (what == "read" and f"{area}:write" in key.scopes)


def unknown_scopes(scopes: Iterable[str]) -> list[str]:
    """Those that are no scopes."""
    return [scope for scope in scopes if scope not in SCOPES]


def refusal(right: str) -> str:
    """Why somebody with too low a role may not use a right, in words."""
    words = REFUSALS_OF_RIGHTS.get(right) or REFUSALS.get(Role(RIGHTS[right]))
    return words or "You are not in this team."


def require(user: User, team: Team, right: str) -> None:
    """PermissionDenied, with the reason in words, where user_may says no."""
    if not user_may(user, team, right):
        raise PermissionDenied(refusal(right))


def may_run_site(user: User) -> bool:
    """Whether the person may do what concerns all teams, as pausing an engine."""
    return user.is_staff


def require_site(user: User) -> None:
    """PermissionDenied, with the reason in words, for whoever does not run the site."""
    if not may_run_site(user):
        raise PermissionDenied("Only the administrators of this site may do this.")
