# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What people choose for a review queue."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils import timezone

from batchsite.accounts.models import Team, User
from batchsite.accounts.permissions import RIGHTS, Role, at_least
from curation import ready, rubrics
from curation.models import Choosing, ReviewQueue, Rubric, RubricVersion
from curation.models.feeds import MOST_SAMPLED
from curation.models.queues import MOST_OVERLAP
from curation.questions import read
from jobs.row_checks.parameters import TITLE_LENGTH

READY = "ready:"
GUIDELINES_LENGTH = 50_000
# Fields that are members of queues.SETTINGS by the same name.
SETTINGS = (
    *("overlap", "coverage", "blind_model", "blind_others", "gold_rate"),
    *("lock_minutes", "skips", "auto_advance", "auto_resolve"),
    *("guidelines", "due_at"),
)


def _box(**over: Any) -> dict[str, Any]:
    return {"class": "field", "autocomplete": "off", **over}


def _number(low: int, high: int, label: str, words: str = "") -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        help_text=words,
        min_value=low,
        max_value=high,
        widget=forms.NumberInput(attrs=_box(min=low, max=high)),
    )


def _choice(label: str, choices: Any, words: str = "") -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label,
        choices=choices,
        help_text=words,
        widget=forms.Select(attrs=_box()),
    )


def _tick(label: str) -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False)


class SettingsForm(forms.Form):
    """A queue's name and rules; what is left out stays as the model has it."""

    name = forms.CharField(
        max_length=TITLE_LENGTH, widget=forms.TextInput(attrs=_box())
    )
    overlap = _number(1, MOST_OVERLAP, "People for each item")
    coverage = _number(
        0, 100, "Of so many percent", "The other items have one person each."
    )
    auto_resolve = _choice(
        "What holds where several judged", ReviewQueue.AutoResolve.choices
    )
    gold_rate = _number(
        0, 50, "Gold items, in percent", "Items whose right answers are known, unseen."
    )
    skips = _choice("Skipping", ReviewQueue.Skips.choices)
    lock_minutes = _number(
        1,
        24 * 60,
        "Held for, in minutes",
        "Then others may have an item that nobody works on.",
    )
    due_at = forms.DateTimeField(
        label="Due",
        required=False,
        widget=forms.DateTimeInput(
            attrs=_box(type="datetime-local"), format="%Y-%m-%dT%H:%M"
        ),
    )
    blind_model = _tick("Hide which model answered")
    blind_others = _tick("Hide what others said until one has submitted")
    auto_advance = _tick("Submit by the answer, where the rubric has one question")
    guidelines = forms.CharField(
        required=False,
        max_length=GUIDELINES_LENGTH,
        help_text="Markdown. Reviewers open it with g.",
        widget=forms.Textarea(attrs=_box(rows=6)),
    )
    assignees = forms.MultipleChoiceField(
        label="Reviewers",
        required=False,
        help_text="Nobody chosen: all curators and owners of the team.",
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *args: Any, team: Team, **more: Any) -> None:
        super().__init__(*args, **more)
        self.team = team
        self._people = reviewers(team)
        people = self.fields["assignees"]
        assert isinstance(people, forms.MultipleChoiceField)
        people.choices = [(str(user.pk), str(user)) for user in self._people]
        self.fields[
            "due_at"
        ].help_text = f"In your time zone, {timezone.get_current_timezone_name()}."

    @property
    def settings(self) -> dict[str, Any]:
        """What create_queue and change_queue take."""
        return {name: self.cleaned_data[name] for name in SETTINGS}

    @property
    def people(self) -> list[User]:
        """The chosen reviewers."""
        chosen = set(self.cleaned_data["assignees"])
        return [user for user in self._people if str(user.pk) in chosen]


class QueueForm(SettingsForm):
    """A new queue, with what it asks."""

    rubric = _choice("Rubric", ())
    kind = _choice(
        "What is judged",
        [
            ("single", "one answer at a time"),
            ("pairwise", "two answers beside each other"),
            ("ranking", "the order of several answers"),
        ],
    )
    field_order = ["name", "kind", "rubric"]

    def __init__(self, *args: Any, team: Team, **more: Any) -> None:
        super().__init__(*args, team=team, **more)
        own = Rubric.objects.visible_to_team(team).filter(archived_at=None)
        shipped = [(f"{READY}{one.slug}", one.name) for one in ready.READY]
        listed = [(rubric.public_id, rubric.name) for rubric in own.order_by("name")]
        field = self.fields["rubric"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            *([("Of your team", listed)] if listed else []),
            ("Ready to use", shipped),
        ]

    def rubric_version(self, user: User, address: str | None) -> RubricVersion:
        """What is asked; a ready rubric becomes one of the team's, once."""
        chosen = self.cleaned_data["rubric"]
        if not chosen.startswith(READY):
            return Rubric.objects.get(team=self.team, public_id=chosen).latest
        one = next(r for r in ready.READY if r.slug == chosen.removeprefix(READY))
        kept = Rubric.objects.filter(team=self.team, name=one.name, archived_at=None)
        rubric = kept.first() or rubrics.create_rubric(
            team=self.team,
            name=one.name,
            questions=read("questions", list(one.questions)),
            user=user,
            address=address,
        )
        return rubric.latest


class RuleForm(forms.Form):
    """Which batches are fed by themselves, and how much of each."""

    model = forms.CharField(
        required=False,
        max_length=200,
        help_text="Empty: any.",
        widget=forms.TextInput(attrs=_box()),
    )
    tag = forms.CharField(
        required=False,
        max_length=64,
        help_text="Empty: any.",
        widget=forms.TextInput(attrs=_box()),
    )
    check = forms.CharField(
        label="Only what fails the check",
        required=False,
        max_length=100,
        help_text="A check's name; * for any check. Empty: all that was answered.",
        widget=forms.TextInput(attrs=_box()),
    )
    how = _choice(
        "Which of its answers",
        [c for c in Choosing.choices if c[0] != Choosing.DISAGREEMENT],
    )
    most = _number(1, MOST_SAMPLED, "How many, of a sample")

    def clean_check(self) -> str:
        """As a filter asks for it."""
        name = self.cleaned_data["check"].strip()
        return f"{'' if name == '*' else name}:failed" if name else ""


def reviewers(team: Team) -> list[User]:
    """The people of the team who may judge, by name."""
    needed = RIGHTS["curation:write"]
    roles = [role for role in Role.values if at_least(role, needed)]
    found = User.objects.filter(
        memberships__team=team, memberships__role__in=roles, is_active=True
    )
    return list(found.order_by("email").distinct())


def initial(queue: ReviewQueue) -> dict[str, Any]:
    """A queue's settings as the form shows them."""
    found = {name: getattr(queue, name) for name in SETTINGS}
    people = [str(pk) for pk in queue.assignees.values_list("pk", flat=True)]
    return {**found, "name": queue.name, "assignees": people}


def defaults() -> dict[str, Any]:
    """Those of a queue that is not there yet."""
    empty = ReviewQueue()
    return {name: getattr(empty, name) for name in SETTINGS}
