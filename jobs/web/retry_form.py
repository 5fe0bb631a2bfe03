# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What people may change of failed requests before these run once more."""

from __future__ import annotations

import io
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from jobs import idempotency
from jobs.api.batch_params import check_writable
from jobs.api.errors import ApiError
from jobs.api.parsers import JSONBody
from jobs.models import Batch, ServedModel

from .form_tokens import key_of, own_token, token_field
from .selection import Selection, selection

CHAT = "/v1/chat/completions"


class ChangesForm(forms.Form):
    """What is changed of requests that run once more; what is left empty stays as it is."""

    model = forms.ChoiceField(
        required=False, widget=forms.Select(attrs={"class": "field"})
    )
    system_prompt = forms.CharField(
        required=False,
        strip=False,
        max_length=1_000_000,
        label="System prompt",
        help_text="Stands in for the one that the requests have, or comes first.",
        widget=forms.Textarea(attrs={"class": "field", "rows": 3}),
    )
    body = forms.CharField(
        required=False,
        max_length=1_000_000,
        label="Changes of the bodies, as JSON",
        help_text="Members to set in each request; null removes one.",
        widget=forms.Textarea(
            attrs={
                "class": "field mono",
                "rows": 3,
                "spellcheck": "false",
                "placeholder": '{"max_tokens": 400}',
            }
        ),
    )

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        names = ServedModel.objects.enabled().values_list("name", flat=True)
        model = self.fields["model"]
        assert isinstance(model, forms.ChoiceField)
        model.choices = [("", "as before"), *((name, name) for name in names)]

    def clean_body(self) -> dict[str, Any] | None:
        """The object, or None when nothing was written."""
        text = self.cleaned_data["body"]
        if not text.strip():
            return None
        try:
            body = JSONBody().parse(io.BytesIO(text.encode()))
        except ApiError as error:
            raise ValidationError(
                'Write one JSON object, for example {"max_tokens": 400}.'
            ) from error
        try:
            check_writable("body", body)
        except ApiError as error:
            raise ValidationError(str(error)) from error
        return body


class RetryForm(ChangesForm):
    """Requests of a batch once more; what is left empty stays as it is.

    `rows` names them as the address of selection.py does; empty: the failed ones.
    """

    field_order = ("token", "rows")
    token = token_field()
    rows = forms.CharField(required=False, max_length=20_000, widget=forms.HiddenInput)

    def __init__(
        self, data: QueryDict | None = None, *, batch: Batch, rows: str = ""
    ) -> None:
        super().__init__(data, auto_id="retry_%s", initial={"rows": rows})
        self.batch = batch
        if batch.endpoint != CHAT:
            del self.fields["system_prompt"]

    def clean_token(self) -> str:
        """The form's own token; another one where none came."""
        return own_token(self.cleaned_data["token"])

    def chosen(self) -> Selection:
        """The requests that the form is about; Unclear when it does not say so."""
        return selection(self.batch, QueryDict(self.cleaned_data.get("rows", "")))

    def arguments(self) -> dict[str, Any]:
        """What retry.prepared takes; Unclear as of `chosen`."""
        return {"custom_ids": self.chosen().custom_ids(), **self._changes()}

    def _changes(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {
            "model": given["model"] or None,
            "system_prompt": given.get("system_prompt") or None,
            "body": given["body"],
        }

    def identity(self) -> tuple[str, str]:
        """The key of this very form, and the fingerprint of what it says."""
        address = f"/batches/{self.batch.public_id}/retry/"
        return (
            key_of(self.cleaned_data["token"]),
            idempotency.fingerprint(
                address, {**self._changes(), "rows": self.cleaned_data["rows"]}
            ),
        )
