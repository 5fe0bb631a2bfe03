# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""People, teams and keys in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from knox.crypto import hash_token

from . import people
from .addresses import client_address
from .admin_lists import Keyset, ReadOnly, words_filter
from .admin_parts import Link, Linked, Question, actor, listed, shown, unsure
from .models import ApiKey, AuditEvent, Installation, Membership, Team, User
from .permissions import SCOPES, role_in

admin.site.site_header = "Batchsite"
admin.site.site_title = "Batchsite"
admin.site.index_title = "Admin"
RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")
REVOKE = Question(
    "Revoke keys",
    "Whoever uses them is shut out at once and for good; a revoked key cannot come"
    " back.",
    "Revoke these keys",
)


class MembershipsShown:
    """Who is in which team is shown here and changed on the team's own page, which
    revokes the keys of people who leave and keeps an owner.
    """

    @admin.display(description="Change it")
    def page(self, membership: Membership) -> str:
        """A link to the people of the team."""
        address = reverse("team-people", args=[membership.team_id])
        return format_html('<a href="{}">People of {}</a>', address, membership.team)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class MembershipInline(MembershipsShown, admin.TabularInline):
    model = Membership
    extra = 0
    fields = ["user", "team", "role", "page"]
    readonly_fields = ["page"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        """With what a line shows."""
        return super().get_queryset(request).select_related("user", "team")


@admin.register(Membership)
class MembershipAdmin(MembershipsShown, admin.ModelAdmin):
    list_display = ["user", "team", "role", "page"]
    list_filter = ["role"]
    search_fields = ["user__email", "team__name"]
    list_select_related = ["user", "team"]
    fields = ["user", "team", "role", "page"]
    readonly_fields = ["page"]


@admin.register(User)
class PersonAdmin(Linked, UserAdmin):
    """Django's own, for people who sign in by e-mail address.

    Who is staff, and what staff may do, is decided by superusers alone: others neither
    give rights nor touch somebody who has some, for whoever sets a password or an
    address becomes that person.
    """

    list_display = [
        "email",
        "first_name",
        "last_name",
        "is_active",
        "is_staff",
        "last_login",
    ]
    list_filter = ["is_active", "is_staff", "is_superuser"]
    search_fields = ["email", "first_name", "last_name"]
    ordering = ["email"]
    inlines = [MembershipInline]
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "time_zone")}),
        (
            "Rights",
            {
                "fields": (
                    "is_active",
                    "is_staff",
                    "is_superuser",
                    "groups",
                    "user_permissions",
                )
            },
        ),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("email", "usable_password", "password1", "password2"),
            },
        ),
    )
    readonly_fields = ["last_login", "date_joined"]

    def related(self, obj: User) -> Iterable[Link]:
        """The person's keys and teams, and what the person did."""
        yield listed(ApiKey, "Keys", user__id__exact=obj.pk)
        yield listed(Membership, "Memberships", user__id__exact=obj.pk)
        yield listed(AuditEvent, "Audit log", actor__id__exact=obj.pk)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Rights are given by superusers."""
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else [*fields, *RIGHTS]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_touch(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_touch(request, obj) and super().has_delete_permission(request, obj)


def _may_touch(request: HttpRequest, obj: User | None) -> bool:
    """Whether one may change that person at all; None: some people."""
    if obj is None or request.user.is_superuser:
        return True
    if obj.is_staff or obj.is_superuser:
        return False
    # Rights in the admin that wait for somebody who is no staff now.
    return not (obj.groups.exists() or obj.user_permissions.exists())


@admin.register(Team)
class TeamAdmin(Linked):
    """A team with its people and its limits."""

    list_display = [
        "name",
        "weight",
        "max_file_bytes",
        "max_requests",
        "max_queued_requests",
        "requests_per_minute",
        "created_at",
    ]
    search_fields = ["name"]
    readonly_fields = ["created_at"]
    inlines = [MembershipInline]
    fieldsets = (
        (None, {"fields": ("name", "weight", "created_at")}),
        (
            "Limits of a file, a batch and a key",
            {
                "fields": (
                    "max_file_bytes",
                    "max_requests",
                    "requests_per_minute",
                    "batch_seconds",
                ),
                "description": "Empty fields follow the site's settings. A change"
                " holds for the next call; what is queued already stays.",
            },
        ),
        (
            "Limits of the queue",
            {
                "fields": (
                    "max_queued_requests",
                    "max_queued_tokens",
                    "max_batches_per_hour",
                ),
                "description": "What the team may have waiting or running at once."
                " Above it new batches are refused, and the answer says what is free.",
            },
        ),
    )

    def view_on_site(self, obj: Team) -> str:
        return reverse("team-people", args=[obj.pk])

    def related(self, obj: Team) -> Iterable[Link]:
        """The team's keys, and what was done in it."""
        yield listed(ApiKey, "Keys", team__id__exact=obj.pk)
        yield listed(AuditEvent, "Audit log", team__id__exact=obj.pk)
        yield "Limits on the site", reverse("team-limits", args=[obj.pk])

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A team that goes takes its memberships along."""
        rows, counts, missing, protected = super().get_deleted_objects(objs, request)
        missing.discard(Membership._meta.verbose_name)
        return rows, counts, missing, protected


class NewKeyForm(forms.ModelForm):
    """A key for somebody; the days count from now."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in SCOPES],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None: everything that the person may do. Write includes read.",
    )
    days = forms.IntegerField(
        min_value=1,
        max_value=36_500,
        required=False,
        help_text="After so many days the key ends; empty: never.",
    )

    class Meta:
        model = ApiKey
        fields = ["team", "user", "name"]

    def clean(self) -> dict[str, Any]:
        """A key acts for somebody in its team."""
        data = super().clean() or {}
        team, user = data.get("team"), data.get("user")
        if team and user and role_in(user, team) is None:
            self.add_error("user", "This person is not in that team.")
        elif team and user:
            try:
                people.check_room_for_key(team=team, user=user)
            except people.CannotChange as refused:
                self.add_error("user", str(refused))
        return data


@admin.register(ApiKey)
class ApiKeyAdmin(Linked):
    """Keys are made and revoked; nothing else about them changes."""

    list_display = [
        "name",
        "token_key",
        "team",
        "user",
        "created",
        "expiry",
        "last_used_at",
        "last_used_from",
        "revoked_at",
    ]
    list_filter = [
        ("revoked_at", admin.EmptyFieldListFilter),
        "expiry",
        "last_used_at",
        "team",
    ]
    search_fields = ["name", "token_key", "user__email", "team__name"]
    list_select_related = ["user", "team"]
    autocomplete_fields = ["team", "user"]
    exclude = ["digest"]
    actions = ["revoke"]

    def view_on_site(self, obj: ApiKey) -> str:
        return reverse("team-keys", args=[obj.team_id])

    def related(self, obj: ApiKey) -> Iterable[Link]:
        """Whose it is, and what was done with it."""
        yield from shown(obj.team, "Team")
        yield from shown(obj.user, "Person")
        yield listed(AuditEvent, "Audit log", q=obj.token_key)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """New keys are asked for in their own words."""
        if obj is None:
            kwargs["form"] = NewKeyForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """For new keys what people choose; for others all but the hash."""
        if obj is None:
            return ["team", "user", "name", "scopes", "days"]
        return super().get_fields(request, obj)

    def save_model(
        self, request: HttpRequest, obj: ApiKey, form: Any, change: bool
    ) -> None:
        """Make the key; its token is in the message, and nowhere else."""
        assert isinstance(request.user, User)
        days = form.cleaned_data["days"]
        token = people.create_api_key(
            team=obj.team,
            user=obj.user,
            name=obj.name,
            scopes=form.cleaned_data["scopes"],
            expiry=timedelta(days=days) if days else None,
            by=request.user,
            address=client_address(request),
        )
        obj.pk = hash_token(token)
        obj.refresh_from_db()
        self.message_user(
            request,
            f"The key is shown only now, copy it: {token}",
            level=messages.WARNING,
        )

    def has_change_permission(
        self, request: HttpRequest, obj: ApiKey | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: ApiKey | None = None
    ) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whoever may change keys by Django's permissions may revoke them."""
        return request.user.has_perm("accounts.change_apikey")

    @admin.action(description="Revoke the chosen keys", permissions=["revoke"])
    def revoke(
        self, request: HttpRequest, queryset: QuerySet[ApiKey]
    ) -> HttpResponse | None:
        """Shut the chosen keys out at once and for good; the rows stay."""
        if asked := unsure(self, request, queryset, REVOKE):
            return asked
        revoked = sum(
            people.revoke_api_key(
                key=key, by=actor(request), address=client_address(request)
            )
            for key in queryset.select_related("team", "user")
        )
        noun = "key was" if revoked == 1 else "keys were"
        self.message_user(request, f"{revoked} {noun} revoked.")
        return None


AREAS = {
    area: area
    for area in (
        *("account", "admin", "audit", "batch", "engine", "file", "key", "member"),
        *("model", "webhook"),
    )
}


@admin.register(AuditEvent)
class AuditEventAdmin(Linked, ReadOnly, Keyset):
    """The audit log is only ever appended to."""

    list_display = ["created_at", "action", "actor", "team", "target", "address"]
    list_filter = [
        "created_at",
        words_filter("area", "action", AREAS, begins="."),
        "team",
    ]
    search_fields = ["target", "actor__email", "team__name", "address"]
    search_help_text = "Looks through all lines, newest first, 10,000 a page."
    list_select_related = ["actor", "team"]

    def related(self, obj: AuditEvent) -> Iterable[Link]:
        """Who did it and in which team, and what else was done with the same."""
        yield from shown(obj.actor, "Person")
        yield from shown(obj.team, "Team")
        if obj.target:
            yield listed(AuditEvent, "All of this target", q=obj.target)


@admin.register(Installation)
class InstallationAdmin(ReadOnly):
    """Written by the site itself when it first starts."""

    list_display = ["key_fingerprint", "created_at"]
