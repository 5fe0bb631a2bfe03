# SPDX-License-Identifier: Apache-2.0
"""Tokens by which a form that is sent twice makes one batch."""

from __future__ import annotations

import uuid

from django import forms

LONGEST = 64


def token_field() -> forms.CharField:
    """A hidden field that each page fills with a token of its own."""
    return forms.CharField(
        required=False, widget=forms.HiddenInput, initial=lambda: uuid.uuid4().hex
    )


def own_token(sent: object) -> str:
    """The token that came with a form; another one where none came."""
    return str(sent)[:LONGEST] or uuid.uuid4().hex


def key_of(token: str) -> str:
    """The idempotency key of what the form makes; by its beginning no API client's."""
    return f"page-{token}"
