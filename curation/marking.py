# SPDX-License-Identifier: Apache-2.0
"""Noting of an answer in passing what one thinks of it: a star, a quality, tags, a note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from batchsite.accounts.models import User
from jobs.models import Result
from jobs.row_checks.parameters import bad, flag

from .models import Mark
from .models.marks import BEST

MOST_TAGS = 20
TAG_LENGTH = 50
NOTE_LENGTH = 5000
MEMBERS = ("starred", "quality", "tags", "note")


def mark(
    *, result: Result, user: User | None, changes: Mapping[str, Any]
) -> Mark | None:
    """Note these members of the answer's mark, others stay; a mark of nothing goes.

    `changes`: starred, quality (1 to 10, None for none), tags, note. Refused for what
    none of these can be.
    """
    given = {
        name: READERS[name](name, changes[name]) for name in MEMBERS if name in changes
    }
    with transaction.atomic():
        # Two who mark the same answer are one after the other.
        Result.objects.select_for_update().filter(pk=result.pk).values("pk").first()
        found = Mark.objects.filter(result=result).first()
        made = found or Mark(
            team_id=result.batch.team_id, batch_id=result.batch_id, result=result
        )
        for name, value in given.items():
            setattr(made, name, value)
        if not (made.starred or made.quality or made.tags or made.note):
            Mark.objects.filter(pk=made.pk).delete()
            return None
        made.by, made.updated_at = user, timezone.now()
        made.save()
    return made


def _starred(param: str, value: Any) -> bool:
    return flag(param, value)


def _quality(param: str, value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad(param, "expected an integer.", "invalid_type")
    if not 1 <= value <= BEST:
        raise bad(param, f"expected 1 to {BEST}.")
    return value


def _tags(param: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise bad(param, "expected an array of strings.", "invalid_type")
    found: list[str] = []
    for number, one in enumerate(value):
        where = f"{param}[{number}]"
        if not isinstance(one, str):
            raise bad(where, "expected a string.", "invalid_type")
        tag = one.strip()
        if not 0 < len(tag) <= TAG_LENGTH or not tag.isprintable():
            raise bad(where, f"expected 1 to {TAG_LENGTH} printable characters.")
        if tag not in found:
            found.append(tag)
    if len(found) > MOST_TAGS:
        why = f"{len(found)} tags are given, {MOST_TAGS} are allowed."
        raise bad(param, why, "array_above_max_length")
    return found


def _note(param: str, value: Any) -> str:
    if not isinstance(value, str):
        raise bad(param, "expected a string.", "invalid_type")
    if len(value) > NOTE_LENGTH:
        why = f"the string has {len(value):,} characters, {NOTE_LENGTH:,} are allowed."
        raise bad(param, why, "string_above_max_length")
    if "\0" in value:
        raise bad(param, "the string has a NUL character.")
    return value.strip()


READERS = {"starred": _starred, "quality": _quality, "tags": _tags, "note": _note}


def of_results(results: Sequence[Result]) -> dict[int, Mark]:
    """The marks of these answers, by the answer's key."""
    rows = Mark.objects.filter(result__in=[result.pk for result in results])
    return {mark.result_id: mark for mark in rows}
