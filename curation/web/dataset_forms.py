# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What people choose for a version of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import QueryDict

from batchsite.accounts.models import Team
from curation.models import Dataset, ReviewQueue
from curation.parts import PARTS
from curation.questions import Question
from curation.specs import Spec

FORMATS = (
    ("sft", "SFT: chats with the accepted answer"),
    ("dpo", "DPO: prompt, chosen, rejected"),
    ("kto", "KTO: prompt, answer, good or bad"),
    ("openai_preference", "preference pairs as OpenAI takes them"),
    ("reward", "reward or evaluation: input, expected output, scores"),
    ("few_shot", "examples for a prompt"),
    ("raw", "each judgement as it was given"),
)
FILES = {"jsonl": "JSON Lines", "csv": "CSV for spreadsheets", "parquet": "Parquet"}
NEW = ""
# Which marked answers, as people choose them.
MARKS: dict[str, dict[str, Any]] = {
    "with a star": {"starred": True},
    **{f"of quality {n} and more": {"least": n} for n in (6, 7, 8, 9, 10)},
}


@dataclass(frozen=True, slots=True)
class Wish:
    """Which answers to a question an item must have to be taken."""

    question: Question
    choices: Sequence[tuple[str, str, bool]] = ()
    least: str = ""
    most: str = ""

    @property
    def name(self) -> str:
        """The name of its fields."""
        return f"c-{self.question.key}"

    @property
    def is_number(self) -> bool:
        """Whether it has bounds."""
        return self.question.type in ("rating", "number")


def wishes(queues: Sequence[ReviewQueue], data: QueryDict) -> list[Wish]:
    """The questions that all of the queues ask alike, and what the form says of them."""
    if not queues:
        return []
    first, *others = [queue.rubric_version.questions for queue in queues]
    common = [q for q in first if all(q in questions for questions in others)]
    found = (_wish(question, data) for question in common)
    return [wish for wish in found if wish is not None]


def _wish(question: Question, data: QueryDict) -> Wish | None:
    name = f"c-{question.key}"
    if question.type in ("rating", "number"):
        least, most = data.get(f"{name}-least", ""), data.get(f"{name}-most", "")
        return Wish(question, least=least, most=most)
    options = {
        "label": [(o.value, o.title) for o in question.options],
        "multi_label": [(o.value, o.title) for o in question.options],
        "boolean": [("true", "Yes"), ("false", "No")],
    }.get(question.type)
    if options is None:
        return None
    chosen = data.getlist(name)
    return Wish(question, [(v, title, v in chosen) for v, title in options])


def accept(found: Sequence[Wish]) -> dict[str, Any]:
    """What records.read_accept takes; ValueError for a bound that is no number."""
    made: dict[str, Any] = {}
    for wish in found:
        chosen = [value for value, _, is_chosen in wish.choices if is_chosen]
        if chosen and len(chosen) < len(wish.choices):
            made[wish.question.key] = chosen
        bounds = {
            name: float(text)
            for name, text in (("least", wish.least), ("most", wish.most))
            if text.strip()
        }
        if bounds:
            made[wish.question.key] = bounds
    return made


def _field(**attrs: Any) -> dict[str, Any]:
    return {"class": "field", "autocomplete": "off", **attrs}


class BuildForm(forms.Form):
    """Which dataset, and how its next version is made."""

    dataset = forms.ChoiceField(
        required=False, widget=forms.Select(attrs=_field()), label="Dataset"
    )
    name = forms.CharField(
        required=False,
        max_length=100,
        label="Name of a new one",
        widget=forms.TextInput(attrs=_field()),
    )
    format = forms.ChoiceField(
        label="Rows", choices=FORMATS, widget=forms.Select(attrs=_field())
    )
    file_format = forms.ChoiceField(
        label="File",
        choices=[(name, FILES[name]) for name in PARTS],
        widget=forms.Select(attrs=_field()),
    )
    test_percent = forms.IntegerField(
        label="Test part, in percent",
        min_value=0,
        max_value=90,
        initial=0,
        help_text="An item stays in its part in every version.",
        widget=forms.NumberInput(attrs=_field(min=0, max=90)),
    )
    alike_percent = forms.IntegerField(
        label="Leave out what is alike to so many percent",
        required=False,
        min_value=50,
        max_value=100,
        help_text="Empty: keep near duplicates.",
        widget=forms.NumberInput(attrs=_field(min=50, max=100)),
    )
    redact = forms.BooleanField(
        required=False,
        label="Replace e-mail addresses, telephone, account and card numbers",
    )
    marks = forms.ChoiceField(
        required=False,
        label="Marked answers too",
        choices=[("", "none"), *((name, name) for name in MARKS)],
        help_text="For SFT, evaluation and examples.",
        widget=forms.Select(attrs=_field()),
    )
    most = forms.IntegerField(
        label="Examples",
        min_value=1,
        max_value=1000,
        initial=8,
        widget=forms.NumberInput(attrs=_field(min=1, max=1000)),
    )
    tokens = forms.IntegerField(
        label="Tokens of all examples",
        min_value=1,
        max_value=1_000_000,
        initial=1500,
        widget=forms.NumberInput(attrs=_field(min=1)),
    )
    pseudonyms = forms.BooleanField(
        required=False, initial=True, label="Pseudonyms for reviewers in raw rows"
    )

    def __init__(self, *args: Any, team: Team, **more: Any) -> None:
        super().__init__(*args, **more)
        self.datasets = list(Dataset.objects.visible_to_team(team).order_by("name"))
        field = self.fields["dataset"]
        assert isinstance(field, forms.ChoiceField)
        known = [(one.public_id, one.name) for one in self.datasets]
        field.choices = [(NEW, "a new one"), *known]

    def clean(self) -> dict[str, Any]:
        """A new dataset needs a name."""
        found: dict[str, Any] = super().clean() or {}
        if not found.get("dataset") and not found.get("name", "").strip():
            self.add_error("name", "Name the new dataset, or choose one.")
        return found

    def chosen(self) -> Dataset | None:
        """The dataset that gets another version; None for a new one."""
        wanted = self.cleaned_data["dataset"]
        return next((one for one in self.datasets if one.public_id == wanted), None)

    def clean_marks(self) -> dict[str, Any] | None:
        """What marks an answer needs; None where none are wanted."""
        chosen = self.cleaned_data["marks"]
        return dict(MARKS[chosen]) if chosen else None

    def spec(self, wanted: dict[str, Any]) -> Spec:
        """How the version is made."""
        given = self.cleaned_data
        alike = given["alike_percent"]
        return Spec(
            format=given["format"],
            file_format=given["file_format"],
            accept={} if given["format"] == "raw" else wanted,
            test_share=given["test_percent"] / 100,
            alike=None if alike is None else alike / 100,
            redact=given["redact"],
            most=given["most"],
            tokens=given["tokens"],
            pseudonyms=given["pseudonyms"],
            marks=given["marks"],
        )
