# SPDX-License-Identifier: Apache-2.0
"""Members of JSON bodies that calls of several areas take, checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from batchsite.accounts.models import Team
from jobs import row_checks
from jobs.models import Batch, BatchFile
from jobs.result_search import FINISH_REASONS, ResultFilter
from jobs.row_checks.parameters import bad

from . import params

Body = Mapping[str, Any]
# The year 9000: a moment that every part of the system can write.
LATEST = 221_845_392_000
FILTER = ("outcome", "error_class", "finish_reason", "words", "place", "check")


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


def filter_of(body: Body, batch: Batch) -> ResultFilter:
    """The same for a batch that is known, whose checks are, too."""
    wanted, check = result_filter(body)
    if not check:
        return wanted
    asked = row_checks.wanted_by(batch, check)
    if asked is None:
        raise bad("filter.check", "the batch has no such check; name it NAME:failed.")
    return replace(wanted, check=asked)


def _word(given: Body, name: str) -> str:
    return params.text({f"filter.{name}": given[name]}, f"filter.{name}")


def known_only(given: Body, known: Collection[str], inside: str = "") -> None:
    """Refuse the first member that is not known."""
    start = f"{inside}." if inside else ""
    params.known_only(
        [f"{start}{name}" for name in given], [f"{start}{name}" for name in known]
    )


def batch(team: Team, public_id: Any, param: str) -> Batch:
    """The team's batch with that id."""
    given = params.text({param: public_id}, param)
    found = Batch.objects.find_in_team(team, given)
    if found is None:
        raise bad(param, "the team has no such batch.")
    return found


def file(team: Team, body: Body, name: str) -> BatchFile:
    """The team's file that the body names."""
    found = BatchFile.objects.visible_to_team(team).find(params.text(body, name))
    if found is None:
        raise bad(name, "the team has no such file.")
    return found
