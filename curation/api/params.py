# SPDX-License-Identifier: Apache-2.0
"""The bodies of calls about curation, checked; what they mean is checked by the operations."""

from __future__ import annotations

import json
from typing import Any

from django.core.files.storage import default_storage

from batchsite.accounts.models import Team, User
from curation.models import ReviewQueue, Rubric
from curation.models.queues import MOST_OVERLAP
from jobs.api import bodies, params
from jobs.api.bodies import Body
from jobs.row_checks.parameters import bad

GUIDELINES_LENGTH = 50_000
REASON_LENGTH = 500
NOTE_LENGTH = 2000
ITEMS_MOST = 10_000
IMPORT_BYTES = 50_000_000
WHOLE = {
    "overlap": (1, MOST_OVERLAP),
    "coverage": (0, 100),
    "gold_rate": (0, 50),
    "lock_minutes": (1, 24 * 60),
}
TRUTHS = ("blind_model", "blind_others", "auto_advance")
CHOICES = {
    "skips": ReviewQueue.Skips.values,
    "auto_resolve": ReviewQueue.AutoResolve.values,
}
SETTINGS = (*WHOLE, *TRUTHS, *CHOICES, "guidelines", "due_at")


def settings(body: Body) -> dict[str, Any]:
    """A queue's settings that the body gives, as create_queue takes them."""
    found: dict[str, Any] = {}
    for name, (least, most) in WHOLE.items():
        if body.get(name) is not None:
            found[name] = params.integer(name, body[name], least=least, most=most)
    for name in TRUTHS:
        if body.get(name) is not None:
            found[name] = bodies.truth(body, name)
    for name, values in CHOICES.items():
        if body.get(name) is not None:
            found[name] = params.one_of(name, params.text(body, name), values)
    if "guidelines" in body:
        found["guidelines"] = bodies.loose_text(body, "guidelines", GUIDELINES_LENGTH)
    if "due_at" in body:
        found["due_at"] = bodies.moment(body, "due_at")
    return found


def seconds(body: Body) -> float:
    """How long the item was before somebody's eyes; 0 where it is not said."""
    return bodies.number(body, "seconds", least=0, most=86_400)


def people(team: Team, body: Body, name: str) -> list[User] | None:
    """People of the team by their e-mail addresses; None where nothing is said."""
    if name not in body:
        return None
    emails = [email.lower() for email in bodies.texts(body, name, most=200)]
    members = User.objects.filter(memberships__team=team, email__in=emails)
    found = {user.email.lower(): user for user in members}
    for place, email in enumerate(emails):
        if email not in found:
            raise bad(f"{name}[{place}]", "nobody of the team has this address.")
    return [found[email] for email in emails]


def one_person(team: Team, body: Body, name: str) -> User | None:
    """A person of the team by the e-mail address; None for null."""
    if body.get(name) is None:
        return None
    email = params.text(body, name, longest=254)
    found = User.objects.filter(memberships__team=team, email__iexact=email).first()
    if found is None:
        raise bad(name, "nobody of the team has this address.")
    return found


def json_file(team: Team, body: Body, name: str) -> Any:
    """What a file of the team has, as JSON."""
    file = bodies.file(team, body, name)
    if file.bytes > IMPORT_BYTES:
        raise bad(name, f"it has more than {IMPORT_BYTES:,} bytes.")
    with default_storage.open(file.storage_name) as stored:
        content = stored.read()
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise bad(name, "the file is no JSON.") from None


def rubric(team: Team, body: Body) -> Rubric:
    """The team's rubric that `rubric_id` names."""
    given = params.text(body, "rubric_id")
    found = Rubric.objects.visible_to_team(team).find(given)
    if found is None:
        raise bad("rubric_id", "the team has no such rubric.")
    return found


def queues(team: Team, body: Body) -> list[ReviewQueue]:
    """The team's queues that `queue_ids` names."""
    ids = bodies.texts(body, "queue_ids", most=100)
    rows = ReviewQueue.objects.visible_to_team(team).filter(public_id__in=ids)
    found = {queue.public_id: queue for queue in rows.select_related("rubric_version")}
    for place, one in enumerate(ids):
        if one not in found:
            raise bad(f"queue_ids[{place}]", "the team has no such queue.")
    return [found[one] for one in ids]
