# SPDX-License-Identifier: Apache-2.0
"""The admin's form of a batch: what people decide, checked as the API checks it."""

from __future__ import annotations

from typing import Any

from django import forms

from .api import batch_params
from .api.errors import ApiError
from .models import Batch

CHANGEABLE = ("name", "tags", "priority", "paused")


class BatchForm(forms.ModelForm):  # type: ignore[type-arg]  # has no [] at run time
    """`tags` are a JSON list of strings."""

    class Meta:
        model = Batch
        fields = CHANGEABLE

    def clean(self) -> dict[str, Any]:
        """Each field by the API's check of the same name."""
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("tags", []) is None:
            cleaned["tags"] = []
        for name in CHANGEABLE:
            if name not in cleaned:
                continue
            given = {"batchsite": {name: cleaned[name]}}
            try:
                cleaned |= batch_params.extensions(
                    given, batch_params.UPDATE_EXTENSIONS
                )
            except ApiError as refused:
                words = refused.message.replace("batchsite.", "")
                self.add_error(name, words)
        return cleaned
