# SPDX-License-Identifier: Apache-2.0
"""The audit log of a team: which lines, page by page, and each in words."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from batchsite.accounts.models import AuditEvent, Team, User

# action: what the person did, with the target and the event's own facts.
WORDS = {
    "audit.export": "downloaded this log",
    "batch.cancel": "cancelled the batch {target}",
    "file.delete": "deleted the file {target}",
    "file.download": "downloaded the file {target}",
    "key.create": "made the API key “{name}” ({target}…) for {user}",
    "key.revoke": "revoked the API key “{name}” ({target}…) of {user}",
    "member.add": "added {target} as {role}",
    "member.link": "made a link that sets the password of {target}",
    "member.remove": "removed {target}, who was {role}",
    "member.role": "made {target} {role}, before {before}",
    "password.change": "changed the own password",
    "password.set": "set the own password by a link",
}
# What people do to their own account belongs to no team; it is shown to all of theirs.
PERSONAL = ("password.change", "password.set")
CHUNK = 1000


@dataclass(frozen=True)
class Filter:
    """Which lines: one action, a part of the person's address, days that are whole
    days of the site's time zone. Empty means all.
    """

    action: str = ""
    who: str = ""
    since: date | None = None
    until: date | None = None


class _Facts(dict[str, Any]):
    """What an event does not say is left out."""

    def __missing__(self, key: str) -> str:
        return "?"


def words(event: AuditEvent) -> str:
    """What was done, as the rest of a sentence that begins with the person.

    An action that has no words here is written as it is.
    """
    pattern = WORDS.get(event.action)
    if pattern is None:
        return f"{event.action} {event.target}".strip()
    facts = event.data if isinstance(event.data, dict) else {}
    return pattern.format_map(_Facts(facts | {"target": event.target}))


def who(event: AuditEvent) -> str:
    """The person's address; the service where nobody is named."""
    return event.actor.email if event.actor else "the service"


def page(
    team: Team,
    chosen: Filter,
    *,
    limit: int,
    before: int | None = None,
    after: int | None = None,
) -> list[AuditEvent]:
    """At most `limit` lines, newest first: those before an id, or right after one.

    Keyset on the id. Two queries that are merged, because each has its own index.
    """
    people = User.objects.filter(memberships__team=team)
    own = AuditEvent.objects.filter(
        team__isnull=True, action__in=PERSONAL, actor__in=people.values("pk")
    )
    found = [
        list(_narrow(events, chosen, before=before, after=after)[:limit])
        for events in (AuditEvent.objects.filter(team=team), own)
    ]
    # Both are in the order of the ids, downwards, or upwards when `after` is given.
    down = after is None
    merged = list(heapq.merge(*found, key=lambda e: e.pk, reverse=down))[:limit]
    return merged if down else merged[::-1]


def _narrow(
    events: QuerySet[AuditEvent],
    chosen: Filter,
    *,
    before: int | None,
    after: int | None,
) -> QuerySet[AuditEvent]:
    if chosen.action:
        events = events.filter(action=chosen.action)
    if chosen.who:
        events = events.filter(actor__email__icontains=chosen.who)
    if chosen.since:
        events = events.filter(created_at__gte=_midnight(chosen.since))
    if chosen.until:
        events = events.filter(
            created_at__lt=_midnight(chosen.until + timedelta(days=1))
        )
    if before is not None:
        events = events.filter(pk__lt=before)
    if after is not None:
        events = events.filter(pk__gt=after)
    return events.select_related("actor").order_by("pk" if after is not None else "-pk")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone())


def every(team: Team, chosen: Filter) -> Iterator[AuditEvent]:
    """All lines, newest first, read 1,000 at a time."""
    before = None
    while rows := page(team, chosen, limit=CHUNK, before=before):
        yield from rows
        before = rows[-1].pk
