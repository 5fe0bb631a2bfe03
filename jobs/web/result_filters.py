# SPDX-License-Identifier: Apache-2.0
"""The filter of a batch's results: a form whose values are the page's address."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import QueryDict

from jobs import extensions, row_checks
from jobs.failures import summaries
from jobs.models import Batch
from jobs.result_search import FINISH_REASONS, ResultFilter
from jobs.templatetags.figures import printable

MOST = 2**31 - 1
NUMBERS = ("tokens_min", "tokens_max", "ms_min", "ms_max")
PLACES = (("answers", "in answers"), ("requests", "in requests"), ("ids", "in ids"))
OUTCOMES = (("", "any"), ("completed", "answered"), ("failed", "failed"))


def _box(**over: Any) -> dict[str, Any]:
    return {"class": "field", **over}


def _number(label: str) -> forms.IntegerField:
    box = forms.TextInput(attrs=_box(inputmode="numeric", placeholder="any"))
    return forms.IntegerField(
        label=label, required=False, min_value=0, max_value=MOST, widget=box
    )


def _choice(label: str, choices: Any) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label,
        required=False,
        choices=choices,
        widget=forms.Select(attrs=_box()),
    )


class ResultFilterForm(forms.Form):
    """Reads the address; what it does not understand is said at its field.

    The members are those of the address: `outcome error finish q in tokens_min
    tokens_max ms_min ms_max`.
    """

    outcome = _choice("status", OUTCOMES)
    error = _choice("error", ())
    finish = _choice("ended by", ())
    q = forms.CharField(
        label="words",
        required=False,
        max_length=200,
        strip=True,
        widget=forms.TextInput(attrs=_box(placeholder="search", **{"data-key": "/"})),
    )
    tokens_min = _number("tokens from")
    tokens_max = _number("tokens to")
    ms_min = _number("ms from")
    ms_max = _number("ms to")

    def __init__(self, query: QueryDict, *, batch: Batch) -> None:
        added = extensions.filters_of_rows()
        self.added = [one.name for one in added]
        known = {
            name: query[name]
            for name in (*self.base_fields, "in", "check", *self.added)
            if name in query
        }
        super().__init__(known)
        self.batch = batch
        for one in added:
            if one.name in known or one.applies(batch):
                self.fields[one.name] = _choice(one.label, [("", "any"), *one.choices])
        if batch.check_count:
            self.fields["check"] = _choice("check", ())
            self._choose("check", self._checks())
        # Named as in the address; `in` is a word of Python's.
        self.fields["in"] = _choice("where", PLACES)
        self.failed = summaries(batch)
        classes = [
            (s.error_class, f"{s.error_class} ({s.rows:,})") for s in self.failed
        ]
        self._choose("error", classes)
        self._choose("finish", [(name, name) for name in FINISH_REASONS])

    @property
    def plain(self) -> list[forms.BoundField]:
        """The fields that are always open, in their order."""
        names = ("q", "in", "outcome", "error", "finish", "check", *self.added)
        return [self[name] for name in names if name in self.fields]

    @property
    def numbers(self) -> list[forms.BoundField]:
        """The ranges, which few ask for."""
        return [self[name] for name in NUMBERS]

    @property
    def has_numbers(self) -> bool:
        """Whether the address has one of them."""
        return any(name in self.data for name in NUMBERS)

    def _checks(self) -> list[tuple[str, str]]:
        """What can be asked of the row checks; an index finds all of it."""
        found = [(":failed", "any failed")]
        for tally in row_checks.tallies([self.batch]).get(self.batch.pk, []):
            check = tally.check
            name = printable(check.name)
            found.append((f"{check.name}:failed", f"{name} failed ({check.failed:,})"))
            if check.errors:
                text = f"{name} could not tell ({check.errors:,})"
                found.append((f"{check.name}:error", text))
        return found

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        """Offer these; what the address names stays one of them, though it finds nothing."""
        asked = self.data.get(name, "")
        if asked and len(asked) <= 64 and asked not in dict(choices):
            choices = [*choices, (asked, asked)]
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "any"), *choices]

    def clean(self) -> dict[str, Any]:
        """No NUL, which no database has in a text; ends in their order."""
        found: dict[str, Any] = super().clean() or {}
        asked = found.get("check", "")
        if asked and row_checks.wanted_by(self.batch, asked) is None:
            self.add_error("check", "This batch has no such check.")
        for low, high in (("tokens_min", "tokens_max"), ("ms_min", "ms_max")):
            least, most = found.get(low), found.get(high)
            if least is not None and most is not None and least > most:
                self.add_error(high, f"It is below the {least:,} that it starts from.")
        return found

    def wanted(self) -> ResultFilter | None:
        """What is filtered for; None when the address cannot be understood."""
        if not self.is_valid():
            return None
        found = self.cleaned_data
        return ResultFilter(
            outcome=found["outcome"],
            error_class=found["error"],
            finish_reason=found["finish"],
            least_tokens=found["tokens_min"],
            most_tokens=found["tokens_max"],
            least_ms=found["ms_min"],
            most_ms=found["ms_max"],
            words=found["q"],
            place=found["in"] or "answers",
            check=row_checks.wanted_by(self.batch, found.get("check", "")),
            more=tuple((name, found[name]) for name in self.added if found.get(name)),
        )

    def query(self, **over: object) -> str:
        """The filter as an address's query, without what is empty; "?" at least."""
        query = QueryDict(mutable=True)
        for name, value in {**self.data, **over}.items():
            if value not in ("", None) and (name, value) != ("in", "answers"):
                query[name] = str(value)
        return f"?{query.urlencode()}"
