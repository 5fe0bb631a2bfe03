# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What people type into the pages of models."""

from __future__ import annotations

import shlex
from typing import Any

from django import forms
from django.http import QueryDict

from batchsite.accounts.models import Team, User
from batchsite.accounts.permissions import user_may
from jobs import trial
from jobs.engines import arguments
from jobs.engines.registry import LONGEST_TRY
from jobs.models import Engine, ServedModel

ENDPOINT_WORDS = {
    "/v1/chat/completions": "a chat message",
    "/v1/completions": "a text to complete",
    "/v1/embeddings": "a text to embed",
}
TEXT = {"class": "field", "autocomplete": "off", "spellcheck": "false"}


class ModelForm(forms.Form):
    """A model, new or to be changed; what it says is what registry.add_model takes."""

    name = forms.CharField(
        max_length=200,
        help_text="What requests carry as their “model”.",
        widget=forms.TextInput(attrs=TEXT | {"placeholder": "qwen3-8b"}),
    )
    source = forms.CharField(
        max_length=500,
        help_text="A Hugging Face id (owner/name), or a folder that this host and the engines'"
        " hosts have by the same path.",
        widget=forms.TextInput(
            attrs=TEXT | {"class": "field mono", "placeholder": "Qwen/Qwen3-8B"}
        ),
    )
    revision = forms.CharField(
        max_length=100,
        required=False,
        help_text="Branch, tag or commit; empty: the main branch.",
        widget=forms.TextInput(attrs=TEXT | {"class": "field mono"}),
    )
    engine_args = forms.CharField(
        label="Engine arguments",
        required=False,
        max_length=5000,
        help_text="vLLM's own, as on its command line.",
        widget=forms.Textarea(
            attrs=TEXT
            | {
                "class": "field mono",
                "rows": 2,
                "placeholder": "--max-model-len 8192 --tensor-parallel-size 2",
            }
        ),
    )
    unchecked = forms.BooleanField(
        label="Keep arguments that the installed vLLM does not know",
        required=False,
    )
    base = forms.ModelChoiceField(
        label="Adapter of",
        queryset=ServedModel.objects.none(),
        required=False,
        empty_label="no other model: it is one of its own",
        help_text="The model that a LoRA adapter belongs to and is served beside.",
        widget=forms.Select(attrs={"class": "field"}),
    )
    engines = forms.ModelMultipleChoiceField(
        label="Pinned to",
        queryset=Engine.objects.none(),
        required=False,
        help_text="The engines that alone may load it; none: any of them.",
        widget=forms.CheckboxSelectMultiple,
    )
    request_timeout = forms.IntegerField(
        label="Seconds for one try of a request",
        required=False,
        min_value=1,
        max_value=LONGEST_TRY,
        help_text="Empty: the site's limit.",
        widget=forms.NumberInput(attrs={"class": "field"}),
    )

    def __init__(
        self, data: QueryDict | None = None, *, model: ServedModel | None = None
    ) -> None:
        super().__init__(
            data, auto_id="model_%s", initial=_values(model) if model else None
        )
        self.model = model
        bases = ServedModel.objects.exclude(source="").filter(base__isnull=True)
        if model is not None:
            # Requests name it so: another name would be another model.
            del self.fields["name"]
            bases = bases.exclude(pk=model.pk)
        self._choices("base").queryset = bases
        self._choices("engines").queryset = Engine.objects.filter(
            kind=Engine.Kind.MANAGED
        )
        self.note = ""

    def _choices(self, name: str) -> forms.ModelChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ModelChoiceField)
        return field

    def clean_engine_args(self) -> list[str]:
        """As a list, as a shell splits it."""
        try:
            return shlex.split(self.cleaned_data["engine_args"])
        except ValueError as error:
            raise forms.ValidationError(f"This cannot be split: {error}.") from error

    def clean(self) -> dict[str, Any]:
        """Refuse arguments that vLLM does not know; `note` says if nobody can tell."""
        found = super().clean() or self.cleaned_data
        given = found.get("engine_args")
        if not given:
            return found
        try:
            unknown = arguments.unknown(given)
        except arguments.CannotTell as error:
            self.note = str(error)
            return found
        if not found.get("unchecked"):
            for one in unknown:
                self.add_error("engine_args", one.words)
        return found

    def values(self) -> dict[str, Any]:
        """Arguments for catalogue.put."""
        found = self.cleaned_data
        base = found["base"]
        return {
            "name": self.model.name if self.model else found["name"],
            "source": found["source"],
            "revision": found["revision"],
            "engine_args": found["engine_args"],
            "base": base.name if base else "",
            "engines": [engine.name for engine in found["engines"]],
            "request_timeout": found["request_timeout"] or 0,
        }


def _values(model: ServedModel) -> dict[str, Any]:
    return {
        "source": model.source,
        "revision": model.revision,
        "engine_args": shlex.join(map(str, model.engine_args)),
        "base": model.base_id,
        "engines": list(model.engines.values_list("pk", flat=True)),
        "request_timeout": model.request_timeout,
    }


class TrialForm(forms.Form):
    """Which team tries a model out, and with what."""

    team = forms.ModelChoiceField(
        queryset=Team.objects.none(),
        empty_label=None,
        widget=forms.Select(attrs={"class": "field"}),
    )
    endpoint = forms.ChoiceField(
        label="With",
        choices=[(path, ENDPOINT_WORDS[path]) for path in trial.BODIES],
        required=False,
        widget=forms.Select(attrs={"class": "field"}),
    )

    def __init__(self, data: QueryDict | None = None, *, user: User) -> None:
        super().__init__(data, auto_id="trial_%s")
        teams = Team.objects.filter(memberships__user=user).distinct().order_by("name")
        able = [team.pk for team in teams if user_may(user, team, "batches:write")]
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = teams.filter(pk__in=able)
        self.teams = able
        if len(able) == 1:
            field.widget = forms.HiddenInput()
            field.initial = able[0]
