# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What the admin's pages have beside Django's: links to related rows, asking twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from .models import User

# Rows that are named before an action; of others it says how many.
NAMED = 20
Link = tuple[str, str]


def listed(model: type[Model], words: str, /, **query: object) -> Link:
    """A link to a list of the admin, with words for it."""
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return words, f"{path}?{urlencode(query)}" if query else path


def shown(row: Model | None, words: str) -> Iterable[Link]:
    """A link to the row's page in the admin, where there is a row."""
    if row is not None:
        label, name = row._meta.app_label, row._meta.model_name
        yield words, reverse(f"admin:{label}_{name}_change", args=[row.pk])


class Linked(admin.ModelAdmin):
    """Pages of rows that link to what belongs to them."""

    def related(self, obj: Any) -> Iterable[Link]:
        """Words and address of each link; none of them counts anything."""
        return ()

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """With the links of a row that exists."""
        if obj is not None:
            context["related"] = list(self.related(obj))
        return super().render_change_form(request, context, add, change, form_url, obj)


@dataclass(frozen=True)
class Question:
    """What is asked before an action: its title, what comes of it, the button's word.

    `field` is the label of a line that the action needs.
    """

    title: str
    words: str
    button: str
    field: str = ""


def unsure(
    page: admin.ModelAdmin, request: HttpRequest, rows: QuerySet, question: Question
) -> TemplateResponse | None:
    """The page that asks, until it was answered; then None."""
    if request.POST.get("sure") == "yes":
        return None
    chosen = list(rows)
    ctx = {
        **page.admin_site.each_context(request),
        "title": question.title,
        "question": question,
        "opts": page.opts,
        "named": chosen[:NAMED],
        "more": len(chosen) - NAMED if len(chosen) > NAMED else 0,
        "chosen": chosen,
        "action": request.POST.get("action", ""),
        "box": ACTION_CHECKBOX_NAME,
        "media": page.media,
    }
    return TemplateResponse(request, "admin/confirm_action.html", ctx)


def actor(request: HttpRequest) -> User:
    """Who does it: everybody in the admin is signed in."""
    assert isinstance(request.user, User)
    return request.user
