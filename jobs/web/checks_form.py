# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""The form of one check: its kind, and the fields that this kind has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.http import QueryDict

from jobs import row_checks
from jobs.refusals import Refused
from jobs.row_checks.definitions import NAME_LENGTH, read_one
from jobs.row_checks.json_texts import NotJSON, parsed
from jobs.row_checks.outcome import CannotTell
from jobs.row_checks.parameters import UNITS
from jobs.row_checks.rules import KINDS

LONGEST = 20_000
# What a refusal begins with, in the API's words.
_prefix = re.compile(r"^Invalid '[^']*': ")


def _area(rows: int, **more: str) -> forms.Textarea:
    attrs = {"class": "field mono", "rows": rows, "spellcheck": "false", **more}
    return forms.Textarea(attrs=attrs)


def _line(**more: str) -> forms.TextInput:
    return forms.TextInput(attrs={"class": "field", "spellcheck": "false", **more})


def _number() -> forms.IntegerField:
    widget = forms.NumberInput(attrs={"class": "field", "min": "0"})
    return forms.IntegerField(required=False, widget=widget)


class CheckForm(forms.Form):
    """A check to add to a batch; the fields of other kinds are left out."""

    name = forms.CharField(
        max_length=NAME_LENGTH,
        help_text="The title of its column, such as “valid JSON”.",
        widget=_line(),
    )
    kind = forms.ChoiceField(
        label="The answer",
        choices=[(name, kind.label) for name, kind in KINDS.items()],
        widget=forms.Select(attrs={"class": "field"}),
    )
    schema = forms.CharField(
        required=False,
        strip=False,
        max_length=LONGEST,
        label="JSON schema",
        help_text="Draft 2020-12; references only within it.",
        widget=_area(6, placeholder='{"type": "object", "required": ["name"]}'),
    )
    pattern = forms.CharField(
        required=False,
        strip=False,
        max_length=1000,
        label="Pattern",
        help_text="A regular expression of RE2, found anywhere in the answer; ^ and $ tie it to begin and end.",
        widget=_line(placeholder=r"^(yes|no)$"),
    )
    value = forms.CharField(
        required=False,
        strip=False,
        max_length=10_000,
        label="Text",
        widget=_area(2),
    )
    ignore_case = forms.BooleanField(required=False, label="Capitals do not matter")
    negate = forms.BooleanField(required=False, label="The opposite: it must not")
    unit = forms.ChoiceField(
        required=False,
        label="Counted in",
        choices=[(unit, unit) for unit in UNITS],
        widget=forms.Select(attrs={"class": "field"}),
    )
    least = _number()
    most = _number()
    languages = forms.CharField(
        required=False,
        max_length=1000,
        label="Languages",
        help_text="Their codes of ISO 639-1, with commas between.",
        widget=_line(placeholder="en, de"),
    )
    phrases = forms.CharField(
        required=False,
        max_length=LONGEST,
        label="Further phrases",
        help_text="One a line; those in the guide count already.",
        widget=_area(3),
    )

    def __init__(self, data: QueryDict | None = None) -> None:
        super().__init__(data, auto_id="check_%s")

    def parts(self) -> Iterator[tuple[str, BoundField]]:
        """Each field with the classes of the kinds that have it; none: all have it."""
        for field in self:
            kinds = [name for name, kind in KINDS.items() if field.name in kind.reads]
            yield " ".join(f"for-{kind}" for kind in kinds), field

    def clean(self) -> dict[str, Any]:
        """`definition` is the check; what is wrong with it stands at its field."""
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        try:
            params = self._params(cleaned)
            given = {"name": cleaned["name"], "kind": cleaned["kind"], "params": params}
            cleaned["definition"] = read_one("check", given)
        except NotJSON as error:
            self.add_error("schema", f"This is no JSON: {error}.")
        except CannotTell as error:
            self.add_error("schema", f"This cannot be used: {error}.")
        except Refused as refused:
            self.refuse(refused)
        return cleaned

    def _params(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """What was filled in of the fields that the kind has."""
        filled = {
            name: cleaned[name]
            for name in KINDS[cleaned["kind"]].reads
            if cleaned.get(name) not in (None, "", False)
        }
        if "schema" in filled:
            filled["schema"] = parsed(filled["schema"])
        for name, between in (("languages", r"[\s,]+"), ("phrases", r"[\r\n]+")):
            if name in filled:
                words = re.split(between, filled[name])
                filled[name] = [word.strip() for word in words if word.strip()]
        return filled

    def refuse(self, refused: Refused) -> None:
        """Say at its field why the check is not taken."""
        last = re.sub(r"\[\d+\]", "", (refused.param or "").rpartition(".")[2])
        why = _prefix.sub("", refused.message)
        self.add_error(
            last if last in self.fields else None, f"{why[:1].upper()}{why[1:]}"
        )

    @property
    def definition(self) -> row_checks.Definition:
        """The check, of a form that is valid."""
        found: row_checks.Definition = self.cleaned_data["definition"]
        return found
