# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What people type into the site's own pages."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.forms import (
    AuthenticationForm,
    PasswordChangeForm,
    SetPasswordForm,
    SetPasswordMixin,
)
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpRequest
from django.utils import timezone

from batchsite.accounts import zones
from batchsite.accounts.models import Membership, User
from batchsite.accounts.permissions import AREAS
from jobs.web import usage

from . import audit_lines

RIGHTS = (("", "nothing"), ("read", "read"), ("write", "read and write"))
NEVER, ON_DATE = "never", "date"
EXPIRIES = (
    ("7", "in 7 days"),
    ("30", "in 30 days"),
    ("90", "in 90 days"),
    ("365", "in 365 days"),
    (ON_DATE, "at the end of a day"),
    (NEVER, "never"),
)


# Days that can be counted on from, in any time zone.
SANE = (MinValueValidator(date(1970, 1, 1)), MaxValueValidator(date(9000, 1, 1)))


def field(**attrs: Any) -> dict[str, Any]:
    """The attributes of an input in the site's look."""
    return {"class": "field"} | attrs


class SignInForm(AuthenticationForm):
    """E-mail address and password."""

    username = forms.EmailField(
        label="E-mail address",
        widget=forms.EmailInput(attrs=field(autocomplete="username", autofocus=True)),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        widget=forms.PasswordInput(attrs=field(autocomplete="current-password")),
    )
    error_messages = {
        "invalid_login": "This e-mail address and password do not belong together.",
        "inactive": "This account is switched off. Ask whoever runs this site.",
    }


class WeakAtTheFirst(SetPasswordMixin):
    """Says what is wrong with a new password beside the first field, not the second."""

    def validate_password_for_user(
        self, user: User, password_field_name: str = ""
    ) -> None:
        """As Django's own, whichever field it names."""
        super().validate_password_for_user(user, "new_password1")


class NewPasswordForm(WeakAtTheFirst, SetPasswordForm):
    """A first password, or another one by a link."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _new_password_fields(self)


class OtherPasswordForm(WeakAtTheFirst, PasswordChangeForm):
    """Another password for somebody who knows the present one.

    A wrong present one counts, and is told in the audit log, like one at sign-in.
    """

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        self.fields["old_password"].label = "Present password"
        self.fields["old_password"].widget.attrs = field(
            autocomplete="current-password"
        )
        _new_password_fields(self)

    def clean_old_password(self) -> str:
        """The present password, if it is that."""
        given: str = self.cleaned_data["old_password"]
        email = self.user.get_username()
        if authenticate(self.request, username=email, password=given) != self.user:
            raise forms.ValidationError(
                self.error_messages["password_incorrect"], code="password_incorrect"
            )
        return given


def _new_password_fields(form: forms.Form) -> None:
    form.fields["new_password1"].label = "New password"
    form.fields[
        "new_password1"
    ].help_text = "At least 8 characters, none of the common ones, not only digits."
    form.fields["new_password2"].label = "The same again"
    form.fields["new_password2"].help_text = ""
    for name in ("new_password1", "new_password2"):
        form.fields[name].widget.attrs = field(autocomplete="new-password")


class NameForm(forms.ModelForm):
    """What others call the person."""

    class Meta:
        model = User
        fields = ["first_name", "last_name"]
        widgets = {
            "first_name": forms.TextInput(attrs=field(autocomplete="given-name")),
            "last_name": forms.TextInput(attrs=field(autocomplete="family-name")),
        }


class TimeZoneForm(forms.ModelForm):
    """In which time zone the person reads times of day."""

    class Meta:
        model = User
        fields = ["time_zone"]
        widgets = {
            "time_zone": forms.TextInput(
                attrs=field(autocomplete="off", list="time-zones", spellcheck="false")
            )
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["time_zone"].help_text = ""
        self.fields["time_zone"].widget.attrs["placeholder"] = settings.TIME_ZONE

    def clean_time_zone(self) -> str:
        """A zone's name however it is written: new york is America/New_York."""
        given = self.cleaned_data["time_zone"].strip().replace(" ", "_").lower()
        if not given:
            return ""
        known = zones.names()
        fits = [name for name in known if name.lower() == given] or [
            name for name in known if name.lower().rpartition("/")[2] == given
        ]
        if len(fits) != 1:
            raise forms.ValidationError(
                "There is no such time zone. Type a city and choose from the list."
            )
        return fits[0]


class PersonForm(forms.Form):
    """Somebody to add to a team."""

    email = forms.EmailField(
        label="E-mail address",
        max_length=254,
        widget=forms.EmailInput(attrs=field(autocomplete="off")),
    )
    role = forms.ChoiceField(
        choices=[(role, role) for role in Membership.Role.values],
        initial=Membership.Role.MEMBER,
        widget=forms.Select(attrs=field()),
    )


class RoleForm(forms.Form):
    """Another role for a member."""

    role = forms.ChoiceField(choices=Membership.Role.choices)


class KeyForm(forms.Form):
    """A new API key: its name, what it may do, and how long."""

    name = forms.CharField(
        max_length=100,
        help_text="Where it will be used, for example “nightly evaluation”.",
        widget=forms.TextInput(attrs=field(autocomplete="off", autofocus=True)),
    )
    reach = forms.ChoiceField(
        label="What it may do",
        choices=[("all", "Everything my role may"), ("some", "Only what I choose")],
        initial="all",
        widget=forms.RadioSelect,
    )
    expires = forms.ChoiceField(
        label="Stops working",
        choices=EXPIRIES,
        initial="90",
        widget=forms.Select(attrs=field()),
    )
    last_day = forms.DateField(
        label="Last day",
        required=False,
        validators=SANE,
        widget=forms.DateInput(attrs=field(type="date"), format="%Y-%m-%d"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for area in AREAS:
            self.fields[area] = forms.ChoiceField(
                choices=RIGHTS, required=False, widget=forms.RadioSelect, initial=""
            )

    def areas(self) -> list[forms.BoundField]:
        """The rows of the matrix."""
        return [self[area] for area in AREAS]

    def clean_last_day(self) -> Any:
        """A day of the person's time zone that is not over."""
        day = self.cleaned_data["last_day"]
        if self.data.get(self.add_prefix("expires")) != ON_DATE:
            return None
        if day is None:
            raise forms.ValidationError("Choose the last day on which the key works.")
        if day < timezone.localdate():
            raise forms.ValidationError("This day is over.")
        return day

    def clean(self) -> dict[str, Any]:
        """A key that was narrowed to nothing would open nothing."""
        data = super().clean() or {}
        if data.get("expires") != ON_DATE:
            # The field is not in sight.
            self.errors.pop("last_day", None)
        if data.get("reach") == "some" and not self.scopes:
            self.add_error("reach", "Choose at least one thing that the key may do.")
        return data

    @property
    def scopes(self) -> list[str]:
        """The chosen scopes, `<area>:read` or `<area>:write`; empty: everything."""
        if self.cleaned_data.get("reach") != "some":
            return []
        return [
            f"{area}:{right}"
            for area in AREAS
            if (right := self.cleaned_data.get(area))
        ]

    @property
    def expiry(self) -> timedelta | None:
        """How long from now the key works; None: without end."""
        chosen = self.cleaned_data["expires"]
        if chosen == NEVER:
            return None
        if chosen != ON_DATE:
            return timedelta(days=int(chosen))
        end = datetime.combine(
            self.cleaned_data["last_day"] + timedelta(days=1),
            time.min,
            tzinfo=timezone.get_current_timezone(),
        )
        return end - timezone.now()


class UsageFilterForm(forms.Form):
    """Whose usage of which model to show: those that the report knows."""

    person = forms.ChoiceField(required=False, widget=forms.Select(attrs=field()))
    model = forms.ChoiceField(required=False, widget=forms.Select(attrs=field()))

    def __init__(self, report: usage.Report, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, every, known in (
            ("person", "everybody", report.people),
            ("model", "all models", report.models),
        ):
            choice = self.fields[name]
            assert isinstance(choice, forms.ChoiceField)
            choice.choices = [("", every), *known]


ACTIONS = (
    ("", "everything"),
    *((a, a.replace(".", ": ").replace("_", " ")) for a in audit_lines.WORDS),
)


class AuditFilterForm(forms.Form):
    """Which lines of the audit log to show."""

    action = forms.ChoiceField(
        label="Action",
        required=False,
        choices=ACTIONS,
        widget=forms.Select(attrs=field()),
    )
    who = forms.CharField(
        label="Person",
        required=False,
        max_length=254,
        widget=forms.TextInput(attrs=field(autocomplete="off", list="audit-people")),
    )
    since = forms.DateField(
        label="From day",
        required=False,
        validators=SANE,
        widget=forms.DateInput(attrs=field(type="date"), format="%Y-%m-%d"),
    )
    until = forms.DateField(
        label="To day",
        required=False,
        validators=SANE,
        widget=forms.DateInput(attrs=field(type="date"), format="%Y-%m-%d"),
    )

    def __init__(self, *args: Any, personal: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not personal:
            action = self.fields["action"]
            assert isinstance(action, forms.ChoiceField)
            action.choices = [
                (value, label)
                for value, label in ACTIONS
                if not value.startswith(audit_lines.PERSONAL)
            ]

    @property
    def chosen(self) -> audit_lines.Filter:
        """The filter that a valid form names."""
        return audit_lines.Filter(**self.cleaned_data)
