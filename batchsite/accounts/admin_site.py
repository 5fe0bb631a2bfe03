# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""The admin's changes in the audit log, in one place for the models of all apps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from .addresses import client_address
from .models import AuditEvent, Team, User


class Audited(ModelAdmin):
    """Where Django keeps the admin's own history, this adds lines to the audit log."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """A row was added."""
        note("admin.add", request, [obj])
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """A row was changed; `message` names the fields."""
        note("admin.change", request, [obj], changes=message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Rows are about to be deleted."""
        note("admin.delete", request, queryset)
        return super().log_deletions(request, queryset)


class AuditedAdminSite(AdminSite):
    """Registers every model's admin class with Audited before it, and sends people to
    the site's own page to change their password, which counts wrong ones.
    """

    def password_change(  # type: ignore[override]  # the site's page in its place
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The site's own page."""
        return redirect("account-password")

    def register(
        self, model_or_iterable: Any, admin_class: Any = None, **options: Any
    ) -> None:
        """As Django's own."""
        base = admin_class or ModelAdmin
        audited = type(base.__name__, (Audited, base), {"__module__": base.__module__})
        super().register(model_or_iterable, audited, **options)


def note(action: str, request: HttpRequest, rows: Iterable[Model], **data: Any) -> None:
    """One line for each row: who, what, from where, and of which team."""
    assert isinstance(request.user, User)
    address = client_address(request)
    AuditEvent.objects.bulk_create(
        [
            AuditEvent(
                action=action,
                actor=request.user,
                team=team_of(row),
                target=f"{row._meta.verbose_name} {row}"[:200],
                address=address,
                data={"model": row._meta.label_lower, "id": str(row.pk), **data},
            )
            for row in rows
        ],
        batch_size=500,
    )


def team_of(row: Model) -> Team | None:
    """The team that a row belongs to, or is."""
    team = row if isinstance(row, Team) else getattr(row, "team", None)
    return team if isinstance(team, Team) else None
