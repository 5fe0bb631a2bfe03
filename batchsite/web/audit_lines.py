# SPDX-License-Identifier: Apache-2.0
"""The audit log of a team: which lines, page by page, and each in words."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from batchsite.accounts.models import AuditEvent, Team, User

# action: what the person did, with the target and the event's own facts.
WORDS = {
    "account.locked": "was locked out after too many wrong passwords for {target}",
    "account.password_change": "changed the own password",
    "account.password_set": "set the own password by a link",
    "account.sign_in": "signed in",
    "account.sign_in_failed": "gave a wrong password for {target}",
    "account.sign_out": "signed out",
    "admin.add": "added the {target} in the admin",
    "admin.change": "changed the {target} in the admin",
    "admin.delete": "deleted the {target} in the admin",
    "audit.export": "downloaded this log",
    "batch.cancel": "cancelled the batch {target}",
    "batch.checks": "added checks to the batch {target}: {checks}",
    "batch.delete": "deleted the batch {target}",
    "batch.remove": "had the deleted batch {target} removed at once",
    "batch.removed": "removed the deleted batch {target} for good",
    "batch.restore": "restored the deleted batch {target}",
    "batch.results": "read answers of the batch {target}",
    "batch.retry": "had requests of the batch {target} run again, as {child}",
    "batch.update": "changed the batch {target}: {changed}",
    "batch.validation_errors": "read the report of bad lines of the batch {target}",
    "dataset.ask": "asked for another version of the dataset {target}, as {format}",
    "dataset.build": "made version {version} of the dataset {target}, {rows} rows",
    "dataset.create": "made the dataset {target}",
    "engine.drain": "paused the engine {target} and had its model unloaded",
    "engine.pause": "paused the engine {target}",
    "engine.restart": "had the engine {target} restarted",
    "engine.resume": "let the engine {target} take requests again",
    "file.delete": "deleted the file {target}",
    "file.download": "downloaded the file {target}",
    "file.expire": "removed the file {target}, whose time was over",
    "key.create": "made the API key “{name}” ({target}…) for {user}",
    "key.revoke": "revoked the API key “{name}” ({target}…) of {user}",
    "member.add": "added {target} as {role}",
    "member.link": "made a link that sets the password of {target}",
    "member.remove": "removed {target}, who was {role}",
    "member.role": "made {target} {role}, before {before}",
    "model.add": "added the model {target}",
    "model.change": "changed the model {target}: {changed}",
    "model.disable": "disabled the model {target}",
    "model.enable": "enabled the model {target}",
    "model.remove": "removed the model {target}",
    "model.retry": "had the model {target} tried again",
    "queue.assigned": "gave {items} items of the review queue {target} to somebody",
    "queue.change": "changed the review queue {target}: {changed}",
    "queue.create": "made the review queue {target}",
    "queue.decided": "decided {items} items of the review queue {target} by majority",
    "queue.excluded": "left {items} items of the review queue {target} out",
    "queue.feed": "put {items} items into the review queue {target}",
    "queue.included": "took {items} items of the review queue {target} in again",
    "queue.made_gold": "made {items} items of the review queue {target} gold items",
    "queue.made_ordinary": "made {items} gold items of the review queue {target} ordinary",
    "queue.prioritised": "changed the order of {items} items of the review queue {target}",
    "queue.reopened": "took decisions of {items} items of the review queue {target} back",
    "queue.import": "took {taken} judgements for the review queue {target}, and left {left}",
    "queue.judge": "had {model} judge {items} items of the review queue {target}, as {batch}",
    "queue.rework": "had {items} items of the review queue {target} run again, as {batch}",
    "queue.rule": "had the review queue {target} fed by itself: {rule}",
    "queue.rule_end": "had the review queue {target} fed by itself no more: {rule}",
    "queue.send": "sent answers of the batch {batch} to the review queue {target}",
    "rubric.archive": "archived the rubric {target}",
    "rubric.change": "changed the rubric {target}, version {version}",
    "rubric.create": "made the rubric {target}",
    "rubric.rename": "named the rubric {target} “{name}”",
    "rubric.restore": "brought the rubric {target} back",
    "webhook.change": "changed the webhook to {url}",
    "webhook.create": "made a webhook to {url}",
    "webhook.delete": "deleted the webhook to {url}",
    "webhook.disable": "switched the webhook to {url} off: {reason}",
    "webhook.enable": "switched the webhook to {url} on",
    "webhook.redeliver": "sent the message {target} to {url} again",
    "webhook.rotate": "gave {target} another webhook secret",
    "webhook.secret": "looked at the webhook secret of {target}",
    "webhook.test": "sent a test message to {url}",
}
# What happens to people's accounts belongs to no team: who owns one reads nothing of
# when, from where and for which other teams its people sign in.
PERSONAL = "account."
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
    """What an event does not say, as those of older versions, is a dash."""

    def __missing__(self, key: str) -> str:
        return "–"  # noqa: RUF001 - meant


def words(event: AuditEvent) -> str:
    """What was done, as the rest of a sentence that begins with the person.

    An action that has no words here is written as it is.
    """
    pattern = WORDS.get(event.action)
    if pattern is None:
        return f"{event.action} {event.target}".strip()
    said = _Facts(target=event.target)
    for name, value in event.data.items():
        said[name] = ", ".join(map(str, value)) if isinstance(value, list) else value
    why = said.get("reason", "") if "{reason}" not in pattern else ""
    return pattern.format_map(said) + (f": {why}" if why else "")


def who(event: AuditEvent) -> str:
    """The person's address, or who else it was."""
    if event.actor:
        return event.actor.email
    return "somebody" if event.action.startswith(PERSONAL) else "the service"


def page(
    team: Team,
    chosen: Filter,
    *,
    limit: int,
    personal: bool,
    before: int | None = None,
    after: int | None = None,
) -> list[AuditEvent]:
    """At most `limit` lines, newest first: those before an id, or right after one.

    `personal` adds those of the present members' accounts, which are for staff alone.
    Keyset on the id. Two queries that are merged, because each has its own index.
    """
    people = User.objects.filter(memberships__team=team)
    own = AuditEvent.objects.filter(
        Q(actor__in=people.values("pk"))
        | Q(actor__isnull=True, target__in=people.values("email")),
        team__isnull=True,
        action__startswith=PERSONAL,
    )
    sources = [AuditEvent.objects.filter(team=team), *([own] if personal else [])]
    found = [
        list(_narrow(events, chosen, before=before, after=after)[:limit])
        for events in sources
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


def every(team: Team, chosen: Filter, *, personal: bool) -> Iterator[AuditEvent]:
    """All lines, newest first, read 1,000 at a time."""
    before = None
    while rows := page(team, chosen, limit=CHUNK, personal=personal, before=before):
        yield from rows
        before = rows[-1].pk
