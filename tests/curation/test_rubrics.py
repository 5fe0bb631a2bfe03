# SPDX-License-Identifier: Apache-2.0
"""Rubrics change until a queue asks them; then another version begins."""

from __future__ import annotations

import pytest

from batchsite.accounts.models import AuditEvent, Team, User
from curation import rubrics
from curation.models import Rubric, RubricVersion
from curation.questions import read
from jobs.refusals import Refused

from .conftest import GOOD_OR_BAD, MakeQueue

pytestmark = pytest.mark.django_db
OTHER = read("q", GOOD_OR_BAD[:1])


def test_it_changes_until_it_is_used(
    rubric: Rubric, owner: User, make_queue: MakeQueue
) -> None:
    changed = rubrics.change_rubric(rubric=rubric, questions=OTHER, user=owner)
    assert (changed.number, changed.questions) == (1, OTHER)
    queue = make_queue(0, rubric_version=rubric.latest)
    same = rubrics.change_rubric(rubric=rubric, questions=OTHER, user=owner)
    assert same.number == 1
    whole = read("q", GOOD_OR_BAD)
    second = rubrics.change_rubric(rubric=rubric, questions=whole, user=owner)
    assert second.number == 2
    queue.refresh_from_db()
    assert queue.rubric_version.questions == OTHER
    assert rubric.latest == second
    # Unused again, and so the same version.
    third = rubrics.change_rubric(rubric=rubric, questions=whole[:1], user=owner)
    assert third.number == 2
    told = AuditEvent.objects.filter(action="rubric.change").order_by("pk")
    assert [event.data["version"] for event in told] == [1, 2, 2]


def test_names_are_once_in_a_team(rubric: Rubric, team: Team, other_team: Team) -> None:
    with pytest.raises(Refused) as refused:
        rubrics.create_rubric(team=team, name=rubric.name, questions=OTHER, user=None)
    assert refused.value.param == "name"
    twin = rubrics.create_rubric(
        team=other_team, name=rubric.name, questions=OTHER, user=None
    )
    second = rubrics.create_rubric(team=team, name="b", questions=OTHER, user=None)
    with pytest.raises(Refused, match="of this name"):
        rubrics.rename_rubric(rubric=second, name=rubric.name, user=None)
    rubrics.rename_rubric(rubric=second, name="c", user=None)
    assert Rubric.objects.get(pk=second.pk).name == "c"
    assert Rubric.objects.visible_to_team(team).count() == 2
    assert twin not in Rubric.objects.visible_to_team(team)


def test_an_export_comes_back(rubric: Rubric) -> None:
    value = rubrics.export_rubric(rubric.latest)
    name, questions = rubrics.read_export(value)
    assert (name, questions) == (rubric.name, rubric.latest.questions)
    for wrong, param in (
        (value | {"format": "x"}, "format"),
        (value | {"colour": 1}, "colour"),
        (value | {"name": ""}, "name"),
        (value | {"questions": None}, "questions"),
    ):
        with pytest.raises(Refused) as refused:
            rubrics.read_export(wrong)
        assert refused.value.param == param
    with pytest.raises(Refused, match="JSON object"):
        rubrics.read_export([])


def test_an_archived_one_is_for_no_new_queue(
    rubric: Rubric, make_queue: MakeQueue, owner: User
) -> None:
    queue = make_queue(1)
    rubrics.archive_rubric(rubric=rubric, user=owner, archived=True)
    rubrics.archive_rubric(rubric=rubric, user=owner, archived=True)
    with pytest.raises(Refused, match="archived"):
        make_queue(0)
    assert queue.rubric_version.questions
    rubrics.archive_rubric(rubric=rubric, user=owner, archived=False)
    assert make_queue(0).rubric_version.rubric == rubric
    actions = AuditEvent.objects.filter(target=rubric.public_id, actor=owner)
    assert list(actions.order_by("pk").values_list("action", flat=True)) == [
        "rubric.archive",
        "rubric.restore",
    ]


def test_versions_are_seen_by_their_team_alone(
    rubric: Rubric, owner: User, stranger: User, staff: User
) -> None:
    assert list(Rubric.objects.visible_to(owner)) == [rubric]
    assert not Rubric.objects.visible_to(stranger).exists()
    assert list(Rubric.objects.visible_to(staff)) == [rubric]
    assert Rubric.objects.find(rubric.public_id) == rubric
    assert Rubric.objects.find("no\0thing") is None
    assert RubricVersion.objects.count() == 1
