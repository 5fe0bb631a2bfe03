# SPDX-License-Identifier: Apache-2.0
"""The filter of the batch list: a form whose values are the page's address."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from django import forms
from django.db.models import Q
from django.http import QueryDict

from batchsite.accounts.models import Membership, Team, User
from jobs.models import Batch, ServedModel
from jobs.models.batches import BatchQuerySet
from jobs.templatetags.figures import printable

FILTERS: dict[str, tuple[str, ...]] = {
    "active": tuple(Batch.ACTIVE),
    **{status: (status,) for status in Batch.Status.values},
}
# The filters that have a place in the bar; the others work in the address.
BAR = ("active", "completed", "failed", "cancelled", "expired")
NAMES = ("status", "q", "owner", "model", "tag")
PEOPLE = 200


class BatchFilterForm(forms.Form):
    """Reads the address. What nothing has finds nothing: it is no error."""

    q = forms.CharField(
        label="name or id",
        required=False,
        max_length=200,
        widget=forms.TextInput(
            attrs={"class": "field", "placeholder": "search", "data-key": "/"}
        ),
    )
    owner = forms.ChoiceField(
        label="owner", required=False, widget=forms.Select(attrs={"class": "field"})
    )
    model = forms.ChoiceField(
        label="model", required=False, widget=forms.Select(attrs={"class": "field"})
    )
    tag = forms.CharField(
        label="tag",
        required=False,
        max_length=50,
        widget=forms.TextInput(attrs={"class": "field", "placeholder": "any"}),
    )

    def __init__(self, query: QueryDict, *, user: User) -> None:
        super().__init__({name: query.get(name, "").strip() for name in NAMES})
        self.user = user
        # Asked when the form is drawn: polls never draw it.
        self._choose("owner", cache(self._people))
        self._choose("model", cache(self._models))

    def _people(self) -> list[str]:
        teams = Team.objects.visible_to(self.user)
        people = Membership.objects.filter(team__in=teams).order_by("user__email")
        emails = people.values_list("user__email", flat=True).distinct()[:PEOPLE]
        return ["me", *(email for email in emails if email != self.user.email)]

    def _models(self) -> list[str]:
        names = ServedModel.objects.order_by("name").values_list("name", flat=True)
        return list(names[:PEOPLE])

    def _choose(self, name: str, known: Callable[[], list[str]]) -> None:
        """Offer what is known; what the address names stays one of them."""

        def choices() -> list[tuple[str, str]]:
            found, asked = [*known()], self.data.get(name, "")
            if asked and asked not in found:
                found.append(asked[:200])
            return [("", "any"), *((one, printable(one)) for one in found)]

        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def narrow(self, batches: BatchQuerySet) -> BatchQuerySet:
        """Those of the batches that the address asks for."""
        asked = {name: str(value) for name, value in self.data.items() if value}
        if any("\0" in value for value in asked.values()):
            # Which no text in the database has.
            return batches.none()
        if statuses := FILTERS.get(asked.get("status", "")):
            batches = batches.filter(status__in=statuses)
        if tag := asked.get("tag"):
            batches = batches.tagged(tag)
        if model := asked.get("model"):
            batches = batches.filter(model=model)
        if owner := asked.get("owner"):
            who = self.user.email if owner == "me" else owner
            batches = batches.filter(owner__email__iexact=who)
        if words := asked.get("q"):
            named = Q(name__icontains=words) | Q(public_id=words)
            named |= Q(input_file__filename__icontains=words, name="")
            batches = batches.filter(named)
        return batches

    @property
    def is_narrow(self) -> bool:
        """Whether the address asks for anything but a status."""
        return any(value for name, value in self.data.items() if name != "status")

    def query(self, **over: str) -> str:
        """The filter as an address's query without what is empty; "" for none."""
        query = QueryDict(mutable=True)
        for name, value in {**self.data, **over}.items():
            if value and (name != "status" or value in FILTERS):
                query[name] = str(value)
        return query.urlencode()

    def hidden(self) -> dict[str, Any]:
        """What a form beside the fields must carry along."""
        status = self.data.get("status", "")
        return {"status": status} if status in FILTERS else {}
