# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Webhooks in the admin: staff look, switch endpoints and send messages again.

Endpoints are added on the team's page, where their address is checked.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from batchsite.accounts.addresses import client_address
from batchsite.accounts.admin_lists import Scope, words_filter
from batchsite.accounts.admin_parts import (
    Link,
    Question,
    actor,
    listed,
    shown,
    unsure,
)

from .admin_tables import (
    OfBatch,
    ReadOnly,
    batch_link,
    hostile,
    long_text,
    rows_of,
)
from .models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from .outbox import EVENT_TYPES
from .webhooks import AddressError, endpoints

REDELIVER = Question(
    "Send messages again",
    "Their receivers get them once more, under the same webhook-id; what was sent"
    " cannot be taken back.",
    "Send them again",
)


class WebhookEndpointAdmin(ReadOnly):
    prefix = "we_"
    list_display = [
        "public_id",
        "team",
        hostile("url"),
        "failing_since",
        "disabled_at",
        "disabled_reason",
        "created_at",
    ]
    list_filter = [("disabled_at", admin.EmptyFieldListFilter), "team"]
    search_fields = ["url", "description", "team__name"]
    list_select_related = ["team"]
    actions = ["enable", "disable"]

    def view_on_site(self, obj: WebhookEndpoint) -> str:
        return reverse("team-webhooks-detail", args=[obj.team_id, obj.public_id])

    def related(self, obj: WebhookEndpoint) -> Iterable[Link]:
        """Its team, and what was sent there."""
        yield from shown(obj.team, "Team")
        yield from shown(obj.created_by, "Person")
        yield listed(WebhookDelivery, "Messages", endpoint__id__exact=obj.pk)

    def has_switch_permission(self, request: HttpRequest) -> bool:
        """Whoever may change endpoints by Django's permissions may switch them."""
        return request.user.has_perm("jobs.change_webhookendpoint")

    @admin.action(description="Enable the chosen endpoints", permissions=["switch"])
    def enable(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        """Send there again; an address that is not allowed any more stays off."""
        done = 0
        for endpoint in queryset.select_related("team"):
            try:
                done += endpoints.enable(
                    endpoint=endpoint,
                    by=actor(request),
                    address=client_address(request),
                )
            except AddressError as refused:
                self.message_user(request, str(refused), messages.WARNING)
        self.message_user(request, f"Enabled: {done}.")

    @admin.action(description="Disable the chosen endpoints", permissions=["switch"])
    def disable(
        self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]
    ) -> None:
        """Send nothing more there."""
        done = sum(
            endpoints.disable(
                endpoint=endpoint, by=actor(request), address=client_address(request)
            )
            for endpoint in queryset.select_related("team")
        )
        self.message_user(request, f"Disabled: {done}.")


class WebhookDeliveryAdmin(OfBatch):
    prefix = "msg_"
    list_display = [
        "public_id",
        "type",
        batch_link,
        hostile("url"),
        "state",
        "attempts_made",
        "next_attempt_at",
        "created_at",
    ]
    list_filter = [
        "state",
        words_filter("type", "type", {name: name for name in EVENT_TYPES}),
    ]
    search_fields = ["url"]
    list_select_related = ["batch"]
    actions = ["redeliver"]

    def view_on_site(self, obj: WebhookDelivery) -> str:
        return reverse("team-webhooks-delivery", args=[obj.team_id, obj.public_id])

    def related(self, obj: WebhookDelivery) -> Iterable[Link]:
        """Where it comes from, where it goes, and each try."""
        yield from shown(obj.batch, "Batch")
        yield from shown(obj.event, "Event")
        yield from shown(obj.endpoint, "Endpoint")
        yield listed(WebhookAttempt, "Attempts", delivery__id__exact=obj.pk)

    def has_redeliver_permission(self, request: HttpRequest) -> bool:
        """Whoever may change deliveries by Django's permissions may repeat them."""
        return request.user.has_perm("jobs.change_webhookdelivery")

    @admin.action(
        description="Send the chosen messages again", permissions=["redeliver"]
    )
    def redeliver(
        self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]
    ) -> HttpResponse | None:
        """A new attempt of each; says which cannot be made."""
        if asked := unsure(self, request, queryset, REDELIVER):
            return asked
        done = 0
        for delivery in queryset.select_related("team", "endpoint", "batch"):
            try:
                endpoints.redeliver(
                    delivery=delivery,
                    by=actor(request),
                    address=client_address(request),
                )
                done += 1
            except endpoints.CannotChange as refused:
                self.message_user(
                    request,
                    f"Message {delivery.public_id}: {refused}",
                    messages.WARNING,
                )
        self.message_user(request, f"To be sent again: {done}.")
        return None


class WebhookAttemptAdmin(ReadOnly):
    list_display = [
        *("created_at", "delivery", "status_code", hostile("error"), "duration_ms")
    ]
    search_fields = ["error"]
    search_help_text = (
        "A message's id finds its attempts; anything else is looked for among errors."
    )
    list_select_related = ["delivery"]
    fields = [
        *("delivery", "created_at", "status_code", "duration_ms"),
        *("error_shown", "response_shown"),
    ]
    error_shown = staticmethod(long_text("error", "Error"))
    response_shown = staticmethod(long_text("response", "Response"))

    def scope_of(self, term: str) -> Scope:
        """The attempts of the message of that id; else all."""
        return rows_of(WebhookDelivery, "msg_", "delivery_id", term)

    def view_on_site(self, obj: WebhookAttempt) -> str:
        sent = obj.delivery
        return reverse("team-webhooks-delivery", args=[sent.team_id, sent.public_id])
