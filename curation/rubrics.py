# SPDX-License-Identifier: Apache-2.0
"""Making rubrics and changing them: what a queue asks already becomes another version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from batchsite.accounts.models import Team, User
from jobs.auditing import note
from jobs.refusals import Refused
from jobs.row_checks.parameters import bad, title

from .models import Rubric, RubricVersion
from .questions import Question, read

FORMAT = "batchsite.rubric"
MEMBERS = ("format", "name", "questions", "version")


def create_rubric(
    *,
    team: Team,
    name: str,
    questions: Sequence[Question],
    user: User | None,
    address: str | None = None,
) -> Rubric:
    """A rubric with its first version; Refused for a name that the team has already."""
    name = title("name", name)
    try:
        with transaction.atomic():
            rubric = Rubric.objects.create(team=team, name=name, created_by=user)
            RubricVersion.objects.create(
                rubric=rubric,
                number=1,
                questions_text=_text(questions),
                created_by=user,
            )
            note("rubric.create", rubric, user, address)
    except IntegrityError:
        if not Rubric.objects.filter(team=team, name=name).exists():
            raise
        raise bad("name", "the team has a rubric of this name.") from None
    return rubric


def change_rubric(
    *,
    rubric: Rubric,
    questions: Sequence[Question],
    user: User | None,
    address: str | None = None,
) -> RubricVersion:
    """Ask these questions from now on; the version that does.

    The newest version itself changes while no queue uses it; after that a new one is
    made. The same questions as before change nothing.
    """
    text = _text(questions)
    with transaction.atomic():
        # Two editors are one after the other.
        Rubric.objects.select_for_update().get(pk=rubric.pk)
        latest = rubric.latest
        if latest.questions_text == text:
            return latest
        unused = RubricVersion.objects.filter(pk=latest.pk, used=False)
        if unused.update(questions_text=text, created_by=user):
            version = RubricVersion.objects.get(pk=latest.pk)
        else:
            version = RubricVersion.objects.create(
                rubric=rubric,
                number=latest.number + 1,
                questions_text=text,
                created_by=user,
            )
        note("rubric.change", rubric, user, address, version=version.number)
    return version


def rename_rubric(
    *, rubric: Rubric, name: str, user: User | None, address: str | None = None
) -> None:
    """Give it another name; Refused for one that the team has already."""
    name = title("name", name)
    try:
        with transaction.atomic():
            Rubric.objects.filter(pk=rubric.pk).update(name=name)
            note("rubric.rename", rubric, user, address, name=name)
    except IntegrityError:
        raise bad("name", "the team has a rubric of this name.") from None
    rubric.name = name


def archive_rubric(
    *, rubric: Rubric, user: User | None, archived: bool, address: str | None = None
) -> None:
    """Offer it for no more queues, or again; those that ask it go on."""
    with transaction.atomic():
        rows = Rubric.objects.filter(pk=rubric.pk, archived_at__isnull=archived)
        if rows.update(archived_at=timezone.now() if archived else None):
            action = "rubric.archive" if archived else "rubric.restore"
            note(action, rubric, user, address)
    rubric.refresh_from_db()


def export_rubric(version: RubricVersion) -> dict[str, Any]:
    """A version as JSON that `read_export` takes, on this site or another one."""
    return {
        "format": FORMAT,
        "name": version.rubric.name,
        "version": version.number,
        "questions": [question.as_json() for question in version.questions],
    }


def read_export(value: Any) -> tuple[str, list[Question]]:
    """Name and questions of an exported rubric; Refused where it is none."""
    if not isinstance(value, dict):
        raise Refused("A rubric is a JSON object with a name and questions.")
    for name in value:
        if name not in MEMBERS:
            raise bad(
                str(name)[:50], "a rubric has no such field.", "unknown_parameter"
            )
    if value.get("format", FORMAT) != FORMAT:
        raise bad("format", f"expected '{FORMAT}'.")
    return title("name", value.get("name")), read("questions", value.get("questions"))


def _text(questions: Sequence[Question]) -> str:
    return json.dumps([question.as_json() for question in questions])
