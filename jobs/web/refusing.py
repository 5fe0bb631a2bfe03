# SPDX-License-Identifier: Apache-2.0
"""Refusals of operations, as forms say them."""

from __future__ import annotations

from django import forms

from jobs.refusals import Refused


def refuse(form: forms.Form, refused: Refused) -> None:
    """The refusal at the field that it names, without saying its name twice."""
    named = refused.param if refused.param in form.fields else None
    _, _, why = refused.message.partition("': ")
    words = f"{why[:1].upper()}{why[1:]}" if why and named else refused.message
    form.add_error(named, words)
