# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What people choose for a new batch, checked as the API checks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import QueryDict

from batchsite.accounts.models import Team
from jobs import idempotency
from jobs.api import batch_params, params
from jobs.api.errors import ApiError
from jobs.jsonl import ENDPOINTS
from jobs.models import Batch, BatchFile
from jobs.refusals import Refused
from jobs.submit import LONGEST_SECONDS, SHORTEST_SECONDS, WINDOW_SECONDS

from .form_tokens import key_of, own_token, token_field

HOUR = 3600
DAY = 24 * HOUR
# Fields of the form that are members of the API's `batchsite` by the same name.
EXTENSIONS = (
    "name",
    "tags",
    "priority",
    "webhook_url",
    "output_order",
    "dedupe",
    "allow_mixed_models",
    "paused",
)
# What the API calls a field that has another unit here.
FIELDS = {"expires_in_seconds": "hours", "output_expires_after": "keep_days"}


@dataclass(frozen=True, slots=True)
class Choices:
    """What of the options decides which lines are good."""

    endpoint: str
    allow_mixed_models: bool = False
    dedupe: bool = True

    @classmethod
    def of_query(cls, query: QueryDict, *, endpoint: str) -> Choices:
        """Those of an address; `endpoint` where it names none."""
        given = query.get("endpoint", "")
        return cls(
            given if given in ENDPOINTS else endpoint,
            query.get("mixed") == "1",
            query.get("dedupe") != "0",
        )

    @property
    def query(self) -> str:
        """The part of an address that `of_query` reads."""
        query = QueryDict(mutable=True)
        query["endpoint"] = self.endpoint
        query["mixed"] = str(int(self.allow_mixed_models))
        query["dedupe"] = str(int(self.dedupe))
        return query.urlencode(safe="/")


def _text(rows: int = 0, **attributes: Any) -> forms.Widget:
    attributes = {"class": "field", "autocomplete": "off"} | attributes
    if rows:
        return forms.Textarea(attrs={**attributes, "rows": rows})
    return forms.TextInput(attrs=attributes)


def _number(**attributes: Any) -> forms.NumberInput:
    return forms.NumberInput(attrs={"class": "field"} | attributes)


class OptionsForm(forms.Form):
    """Everything that POST /v1/batches takes beside the file."""

    token = token_field()
    endpoint = forms.ChoiceField(
        choices=[(name, name) for name in ENDPOINTS],
        help_text="The url of every line of the file.",
        widget=forms.Select(attrs={"class": "field"}),
    )
    name = forms.CharField(
        required=False,
        help_text="What people call it; without one, the file's name.",
        widget=_text(maxlength=batch_params.NAME_LENGTH),
    )
    tags = forms.CharField(
        required=False,
        help_text="To find it by, with commas between them: weekly, mails",
        widget=_text(),
    )
    priority = forms.IntegerField(
        required=False,
        help_text="-100 to 100. Higher runs first within the team's share.",
        widget=_number(min=-100, max=100),
    )
    hours = forms.DecimalField(
        required=False,
        label="Time, in hours",
        max_digits=7,
        decimal_places=2,
        widget=_number(min=1, max=LONGEST_SECONDS // HOUR, step="any"),
    )
    webhook_url = forms.CharField(
        required=False,
        label="Webhook",
        help_text="An address that is told when the batch ends.",
        widget=_text(
            inputmode="url",
            spellcheck="false",
            placeholder="https://hooks.example.com/batches",
        ),
    )
    keep_days = forms.DecimalField(
        required=False,
        label="Keep the results, in days",
        max_digits=6,
        decimal_places=2,
        help_text="Up to 30, which is what they are kept without a number.",
        widget=_number(min=1, max=30, step="any"),
    )
    output_order = forms.ChoiceField(
        label="Order of the results",
        required=False,
        choices=[("input", "as in the file"), ("completion", "as they are answered")],
        widget=forms.Select(attrs={"class": "field"}),
    )
    metadata = forms.CharField(
        required=False,
        strip=False,
        help_text="One key = value on a line; up to 16.",
        widget=_text(3, spellcheck="false", placeholder="customer = internal"),
    )
    dedupe = forms.BooleanField(
        required=False,
        label="Run exact copies once",
        help_text="Of requests with temperature 0 or a seed; copies get the same answer.",
    )
    allow_mixed_models = forms.BooleanField(
        required=False,
        label="Lines may name different models",
        help_text="They run model after model.",
    )
    paused = forms.BooleanField(
        required=False,
        label="Begin paused",
        help_text="It is checked, and starts nothing before somebody resumes it.",
    )

    def __init__(
        self, data: QueryDict | None = None, *, team: Team, initial: Mapping[str, Any]
    ) -> None:
        super().__init__(data, initial=dict(initial), auto_id="new_%s")
        own = team.batch_seconds or WINDOW_SECONDS
        self.fields["hours"].help_text = (
            f"{SHORTEST_SECONDS // HOUR} to {LONGEST_SECONDS // HOUR}; what is not"
            f" answered then is not run. Without a number: {own / HOUR:g}."
        )
        for name, field in self.fields.items():
            if field.help_text and not field.widget.is_hidden:
                field.widget.attrs["aria-describedby"] = f"new_{name}_helptext"

    def clean_token(self) -> str:
        """The form's own token; another one where none came."""
        return own_token(self.cleaned_data["token"])

    def clean_tags(self) -> list[str]:
        """The words between the commas."""
        return [
            tag
            for part in self.cleaned_data["tags"].split(",")
            if (tag := part.strip())
        ]

    def clean_metadata(self) -> dict[str, str] | None:
        """The pairs, or None without any."""
        pairs: dict[str, str] = {}
        for line in self.cleaned_data["metadata"].splitlines():
            if not line.strip():
                continue
            key, sign, value = line.partition("=")
            if not sign or not key.strip():
                raise forms.ValidationError(
                    "Write each line as key = value, for example customer = internal."
                )
            pairs[key.strip()] = value.strip()
        return pairs or None

    def clean(self) -> dict[str, Any]:
        """Each field by the API's check of the same name."""
        cleaned = super().clean() or self.cleaned_data
        for name in EXTENSIONS:
            if cleaned.get(name) not in (None, ""):
                self._ask(name, {"batchsite": {name: cleaned[name]}})
        self._ask("metadata", {"metadata": cleaned.get("metadata")})
        for name, unit, bounds in (
            ("hours", HOUR, (SHORTEST_SECONDS, LONGEST_SECONDS)),
            ("keep_days", DAY, params.LIFE_SECONDS),
        ):
            given = cleaned.get(name)
            least, most = bounds
            if given is not None and not least <= given * unit <= most:
                words = f"{round(least / unit, 2):g} and {most / unit:g}"
                self.add_error(name, f"Choose a number between {words}.")
        return cleaned

    def _ask(self, name: str, body: Mapping[str, Any]) -> None:
        """Have the API check the one member that the body has."""
        try:
            batch_params.extensions(body, batch_params.CREATE_EXTENSIONS)
            params.metadata(body.get("metadata"))
        except ApiError as refused:
            self.add_error(name, refused.message.replace("batchsite.", ""))

    def choices(self) -> Choices:
        """What the lines are checked against, as far as the form says."""
        given = self.cleaned_data
        return Choices(
            given.get("endpoint") or self.initial["endpoint"],
            bool(given.get("allow_mixed_models")),
            bool(given.get("dedupe")),
        )

    def arguments(self) -> dict[str, Any]:
        """What submit.create_batch takes beside team, person and file."""
        given = self.cleaned_data
        made: dict[str, Any] = {
            name: given[name]
            for name in EXTENSIONS
            if given.get(name) not in (None, "")
        }
        if given["hours"]:
            made["expires_in_seconds"] = round(given["hours"] * HOUR)
        if given["keep_days"]:
            made["output_expires_after"] = round(given["keep_days"] * DAY)
        return {**made, "endpoint": given["endpoint"], "metadata": given["metadata"]}

    def identity(self, file: BatchFile) -> tuple[str, str]:
        """The key of this very form, and the fingerprint of what it says."""
        address = f"/batches/new/files/{file.public_id}/"
        return (
            key_of(self.cleaned_data["token"]),
            idempotency.fingerprint(address, self.arguments()),
        )

    def refuse(self, refused: ApiError | Refused) -> None:
        """Show a refusal of the API or of an operation at the field that it is about."""
        name = (refused.param or "").replace("batchsite.", "")
        name = FIELDS.get(name, name)
        field = name if name in self.fields else None
        self.add_error(field, refused.message.replace("batchsite.", ""))


def fresh(choices: Choices) -> dict[str, Any]:
    """What the form of a batch that is like no other begins with."""
    return {
        "endpoint": choices.endpoint,
        "output_order": "input",
        "priority": 0,
        "dedupe": choices.dedupe,
        "allow_mixed_models": choices.allow_mixed_models,
    }


def like(batch: Batch) -> dict[str, Any]:
    """The options of an earlier batch."""
    life = (batch.expires_at - batch.created_at).total_seconds()
    kept = batch.output_expires_after
    return {
        "endpoint": batch.endpoint,
        "name": batch.name,
        "tags": ", ".join(batch.tags),
        "priority": batch.priority,
        "hours": f"{life / HOUR:.2f}".rstrip("0").rstrip("."),
        "webhook_url": batch.webhook_url,
        "keep_days": f"{kept / DAY:.2f}".rstrip("0").rstrip(".") if kept else None,
        "output_order": batch.output_order,
        "metadata": "\n".join(f"{k} = {v}" for k, v in (batch.metadata or {}).items()),
        "dedupe": batch.dedupe,
        "allow_mixed_models": batch.allow_mixed_models,
        "paused": False,
    }
