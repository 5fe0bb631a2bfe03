# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django import forms
from django.contrib.auth.forms import AuthenticationForm


class SignInForm(AuthenticationForm):
    """E-mail address and password."""

    username = forms.EmailField(
        label="E-mail address",
        widget=forms.EmailInput(
            attrs={"autocomplete": "username", "autofocus": True, "class": "field"}
        ),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        widget=forms.PasswordInput(
            attrs={"autocomplete": "current-password", "class": "field"}
        ),
    )
    error_messages = {
        "invalid_login": "This e-mail address and password do not belong together.",
        "inactive": "This account is switched off. Ask whoever runs this site.",
    }
