# SPDX-License-Identifier: Apache-2.0
"""Refusals of operations, as forms say them."""

from __future__ import annotations

from django import forms

from jobs.refusals import Refused


def refuse(form: forms.Form, refused: Refused) -> None:
    """The refusal at the field that it names, without saying its name twice."""
    named = refused.param if refused.param in form.fields else None
    words = refused.message
    if named and words.startswith(f"Invalid '{named}': "):
        why = words.partition("': ")[2]
        words = f"{why[:1].upper()}{why[1:]}"
    form.add_error(named, words)
