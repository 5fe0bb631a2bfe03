# SPDX-License-Identifier: Apache-2.0
"""The bodies of calls about curation, checked; what they mean is checked by the operations."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.files.storage import default_storage

from batchsite.accounts.models import Team, User
from curation.models import ReviewQueue, Rubric
from curation.models.queues import MOST_OVERLAP
from jobs.api import params
from jobs.models import Batch, BatchFile
from jobs.result_search import FINISH_REASONS, ResultFilter
from jobs.row_checks.parameters import bad

Body = Mapping[str, Any]
GUIDELINES_LENGTH = 50_000
REASON_LENGTH = 500
NOTE_LENGTH = 2000
ITEMS_MOST = 10_000
IMPORT_BYTES = 50_000_000
# The year 9000: a moment that every part of the system can write.
LATEST = 221_845_392_000
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
FILTER = ("outcome", "error_class", "finish_reason", "words", "place", "check")


def settings(body: Body) -> dict[str, Any]:
    """A queue's settings that the body gives, as create_queue takes them."""
    found: dict[str, Any] = {}
    for name, (least, most) in WHOLE.items():
        if body.get(name) is not None:
            found[name] = params.integer(name, body[name], least=least, most=most)
    for name in TRUTHS:
        if body.get(name) is not None:
            found[name] = truth(body, name)
    for name, values in CHOICES.items():
        if body.get(name) is not None:
            found[name] = params.one_of(name, params.text(body, name), values)
    if "guidelines" in body:
        found["guidelines"] = loose_text(body, "guidelines", GUIDELINES_LENGTH)
    if "due_at" in body:
        found["due_at"] = moment(body, "due_at")
    return found


def truth(body: Body, name: str) -> bool:
    """A boolean."""
    if not isinstance(body[name], bool):
        raise params.wrong_type(name, "a boolean", body[name])
    return bool(body[name])


def loose_text(body: Body, name: str, longest: int) -> str:
    """A string that may be empty; null and nothing are empty."""
    value = body.get(name)
    if value is None or value == "":
        return ""
    return params.text(body, name, longest=longest)


def moment(body: Body, name: str) -> datetime | None:
    """Unix seconds, or null for none."""
    if body[name] is None:
        return None
    seconds = params.integer(name, body[name], least=0, most=LATEST)
    return datetime.fromtimestamp(seconds, tz=UTC)


def seconds(body: Body) -> float:
    """How long the item was before somebody's eyes; 0 where it is not said."""
    return number(body, "seconds", least=0, most=86_400)


def number(body: Body, name: str, *, least: float, most: float) -> float:
    """A number in the range; 0 where it is not said."""
    value = body.get(name)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise params.wrong_type(name, "a number", value)
    if not least <= value <= most:
        raise bad(name, f"expected {least:g} to {most:,g}.")
    return float(value)


def obj(body: Body, name: str) -> dict[str, Any]:
    """An object, which must be there."""
    if name not in body:
        raise params.missing(name)
    if not isinstance(body[name], dict):
        raise params.wrong_type(name, "an object", body[name])
    found: dict[str, Any] = body[name]
    return found


def texts(body: Body, name: str, *, most: int) -> list[str]:
    """A list of up to `most` strings; nothing and null are an empty one."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise params.wrong_type(name, "an array", value)
    if len(value) > most:
        why = f"{len(value):,} entries are given, {most:,} are allowed."
        raise bad(name, why, "array_above_max_length")
    for place, one in enumerate(value):
        params.text({f"{name}[{place}]": one}, f"{name}[{place}]", longest=600)
    return list(dict.fromkeys(value))


def people(team: Team, body: Body, name: str) -> list[User] | None:
    """People of the team by their e-mail addresses; None where nothing is said."""
    if name not in body:
        return None
    emails = [email.lower() for email in texts(body, name, most=200)]
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


def batch(team: Team, public_id: Any, param: str) -> Batch:
    """The team's batch with that id."""
    given = params.text({param: public_id}, param)
    found = Batch.objects.find_in_team(team, given)
    if found is None:
        raise bad(param, "the team has no such batch.")
    return found


def json_file(team: Team, body: Body, name: str) -> Any:
    """What a file of the team has, as JSON."""
    given = params.text(body, name)
    file = BatchFile.objects.visible_to_team(team).find(given)
    if file is None:
        raise bad(name, "the team has no such file.")
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
    ids = texts(body, "queue_ids", most=100)
    rows = ReviewQueue.objects.visible_to_team(team).filter(public_id__in=ids)
    found = {queue.public_id: queue for queue in rows.select_related("rubric_version")}
    for place, one in enumerate(ids):
        if one not in found:
            raise bad(f"queue_ids[{place}]", "the team has no such queue.")
    return [found[one] for one in ids]


def rows(body: Body) -> Sequence[int] | None:
    """Indexes of results; None where none are given."""
    value = body.get("rows")
    if value is None:
        return None
    if not isinstance(value, list):
        raise params.wrong_type("rows", "an array", value)
    return [
        params.integer(f"rows[{n}]", one, least=0, most=2**31 - 1)
        for n, one in enumerate(value[:2000])
    ]


def result_filter(body: Body) -> tuple[ResultFilter, str]:
    """Which results are meant, and the row check's word on them like `valid:failed`.

    Nothing means all that were answered.
    """
    given = body.get("filter")
    if given is None:
        return ResultFilter(outcome="completed"), ""
    if not isinstance(given, dict):
        raise params.wrong_type("filter", "an object", given)
    known_only(given, FILTER, "filter")
    found: dict[str, Any] = {
        name: _word(given, name) for name in FILTER if given.get(name)
    }
    for name, allowed in (
        ("outcome", ("completed", "failed")),
        ("finish_reason", FINISH_REASONS),
        ("place", ("answers", "requests", "ids")),
    ):
        if name in found:
            params.one_of(f"filter.{name}", found[name], allowed)
    check = found.pop("check", "")
    return ResultFilter(**found), check


def _word(given: Body, name: str) -> str:
    return params.text({f"filter.{name}": given[name]}, f"filter.{name}")


def known_only(given: Body, known: Collection[str], inside: str = "") -> None:
    """Refuse the first member that is not known."""
    start = f"{inside}." if inside else ""
    params.known_only(
        [f"{start}{name}" for name in given], [f"{start}{name}" for name in known]
    )
