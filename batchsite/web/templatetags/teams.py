# SPDX-License-Identifier: Apache-2.0
"""What the pages of a team share: its navigation, and how keys and roles are written."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from batchsite.accounts.models import ApiKey, Membership, Team
from batchsite.accounts.permissions import AREAS, RIGHTS, at_least, role_in
from jobs.access import person

register = template.Library()

# (start of the pages' URL names, word, right that one needs to see it)
SECTIONS = (
    ("team-people", "People", "people:read"),
    ("team-keys", "API keys", "people:read"),
    ("team-webhooks", "Webhooks", "webhooks:read"),
    ("team-limits", "Limits", "people:read"),
    ("team-usage", "Usage", "usage:read"),
    ("team-audit", "Audit log", "audit:read"),
)
SWITCHER = 12

ROLE_WORDS = {
    Membership.Role.VIEWER: "sees batches, results and files",
    Membership.Role.MEMBER: "also submits, cancels and deletes",
    Membership.Role.CURATOR: "also reviews answers",
    Membership.Role.OWNER: "also manages people, keys and webhooks",
}


@register.inclusion_tag("site/_team_nav.html", takes_context=True)
def team_nav(context: dict[str, Any], team: Team) -> dict[str, Any]:
    """The team's name, the way to the person's other teams, and the sections."""
    request = context["request"]
    user = person(request)
    here = getattr(request.resolver_match, "url_name", "") or ""
    role = role_in(user, team)
    teams = list(Team.objects.visible_to(user)[: SWITCHER + 1])
    return {
        "team": team,
        "others": [other for other in teams[:SWITCHER] if other != team],
        "more": len(teams) > SWITCHER,
        "sections": [
            (address, word, here.startswith(name))
            for name, word, right in SECTIONS
            if (address := _address(name, team)) and at_least(role, RIGHTS[right])
        ],
    }


def _address(name: str, team: Team) -> str:
    try:
        return reverse(name, args=[team.pk])
    except NoReverseMatch:
        return ""


@register.filter
def role_words(role: str) -> str:
    """What a role may do, in words that build on the role below it."""
    return ROLE_WORDS[Membership.Role(role)] if role in ROLE_WORDS else role


@register.simple_tag
def time_zone() -> str:
    """The name of the time zone in which moments of this page are written."""
    return timezone.get_current_timezone_name()


@register.filter
def lone_owner(member: Membership, owners: int) -> bool:
    """Whether the team, with so many owners who can sign in, has none but this one."""
    others = owners - member.user.is_active
    return member.role == Membership.Role.OWNER and others < 1


KEY_CHIPS = {
    "usable": ("check", "green", "active"),
    "expired": ("clock", "plain", "expired"),
    "revoked": ("stop", "plain", "revoked"),
    "shut": ("stop", "amber", "shut out"),
}


@register.inclusion_tag("jobs/_status_chip.html")
def key_chip(key: ApiKey) -> dict[str, str]:
    """The key's state as icon and word; shut out when its person may not use it."""
    state = key.state
    user = key.user
    inside = user.is_staff or getattr(key, "held_role", "") is not None
    if state == "usable" and not (user.is_active and inside):
        state = "shut"
    picture, colour, word = KEY_CHIPS[state]
    return {"picture": picture, "colour": colour, "word": word}


@register.filter
def scope_words(scopes: list[str]) -> str:
    """What a key may do: `reads and writes files, reads batches`."""
    if not scopes:
        return "everything its person may"
    reach = {
        area: "reads and writes" if f"{area}:write" in scopes else "reads"
        for area in AREAS
        if f"{area}:read" in scopes or f"{area}:write" in scopes
    }
    return ", ".join(f"{does} {area}" for area, does in reach.items())
