# SPDX-License-Identifier: Apache-2.0
"""The forms of benchmarks."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from batchsite.accounts.models import Team
from benchmarks import item_lines
from benchmarks.models import Suite
from benchmarks.running import MOST_REPEATS, USUAL, Variant, read_variants
from benchmarks.scoring import KINDS, Metric
from benchmarks.scoring import read as read_metrics
from benchmarks.sources import MOST_REPLAYED, Source
from jobs.models import ServedModel
from jobs.row_checks.parameters import TITLE_LENGTH

# What needs no parameters can be chosen in a list.
PLAIN = [(name, kind.label) for name, kind in KINDS.items() if not kind.required]


def _box(**over: Any) -> dict[str, Any]:
    return {"class": "field", **over}


class _Metric(forms.ChoiceField):
    """One metric for all items; none is a choice, too."""

    def __init__(self, **more: Any) -> None:
        super().__init__(
            label="An answer is good when it is",
            required=False,
            choices=[("", "judged by each item's own metrics"), *PLAIN],
            widget=forms.Select(attrs=_box()),
            **more,
        )


def metrics_of(kind: str) -> list[Metric] | None:
    """The chosen metric; None for what the items say themselves."""
    return read_metrics("metrics", [kind]) if kind else None


class SuiteForm(forms.Form):
    """A name, and a file of items."""

    name = forms.CharField(
        max_length=TITLE_LENGTH, widget=forms.TextInput(attrs=_box())
    )
    file = forms.FileField(
        label="File of items",
        help_text="JSON Lines: {“input”, “reference”}, batch requests, or a dataset's rows; up to 20,000.",
        widget=forms.ClearableFileInput(attrs=_box(accept=".jsonl,.json,.txt")),
    )
    metric = _Metric()


class VersionForm(forms.Form):
    """The file of the next version."""

    file = SuiteForm.base_fields["file"]
    metric = _Metric()


def source_of(upload: UploadedFile[Any]) -> Source:
    """The items of an uploaded file."""
    assert upload.file is not None
    about = {"kind": "upload", "filename": upload.name or "upload"}
    return Source(item_lines.read(upload.file), about)


class ReplayForm(forms.Form):
    """Rows of a batch as items: of a new suite, or as the next version of one."""

    name = forms.CharField(
        max_length=TITLE_LENGTH, widget=forms.TextInput(attrs=_box())
    )
    most = forms.IntegerField(
        label="Rows at most",
        min_value=1,
        max_value=MOST_REPLAYED,
        initial=200,
        help_text="A sample, and the same one whenever it is drawn.",
        widget=forms.NumberInput(attrs=_box()),
    )
    with_reference = forms.BooleanField(
        label="What was answered then is what answers are compared with",
        required=False,
        initial=True,
    )
    metric = _Metric(initial="token_f1")


class RunForm(forms.Form):
    """Which models, in which settings, how many times."""

    suite = forms.ChoiceField(widget=forms.Select(attrs=_box()))
    models = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple,
        help_text="Engine settings are compared as models: the same weights under two names.",
    )
    variants = forms.CharField(
        required=False,
        help_text="One a line: a name, and what it changes in each request. Empty: requests stay as they are.",
        widget=forms.Textarea(
            attrs=_box(rows=3, placeholder='greedy {"temperature": 0}')
        ),
    )
    repeats = forms.IntegerField(
        label="Times each",
        min_value=1,
        max_value=MOST_REPEATS,
        initial=1,
        widget=forms.NumberInput(attrs=_box()),
    )
    name = forms.CharField(
        required=False,
        max_length=TITLE_LENGTH,
        help_text="Empty: that of the suite.",
        widget=forms.TextInput(attrs=_box()),
    )

    def __init__(self, *args: Any, team: Team, **more: Any) -> None:
        super().__init__(*args, **more)
        self.suites = list(Suite.objects.visible_to_team(team).live().order_by("name"))
        names = ServedModel.objects.enabled().values_list("name", flat=True)
        self._offer("suite", [(one.public_id, one.name) for one in self.suites])
        self._offer("models", [(name, name) for name in names.order_by("name")])

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def chosen(self) -> Suite:
        """The chosen suite."""
        code = self.cleaned_data["suite"]
        return next(one for one in self.suites if one.public_id == code)

    def variants_of(self) -> tuple[Variant, ...]:
        """The variants that stand in the lines; Refused names what is wrong with one."""
        lines = self.cleaned_data["variants"].splitlines()
        given = [_variant(line.strip()) for line in lines if line.strip()]
        return tuple(read_variants("variants", given)) if given else USUAL


def _variant(line: str) -> dict[str, Any]:
    name, _, body = line.partition(" ")
    if not body.strip():
        return {"name": name}
    try:
        return {"name": name, "body": json.loads(body)}
    except (ValueError, RecursionError):
        # Said by read_variants: it is no object.
        return {"name": name, "body": body}
