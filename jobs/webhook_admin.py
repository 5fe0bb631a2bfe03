# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Webhooks in the admin: staff look, switch endpoints and send messages again.

Endpoints are added on the team's page, where their address is checked.
"""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import User

from .admin_tables import ReadOnly
from .models import WebhookDelivery, WebhookEndpoint
from .webhooks import AddressError, endpoints


class WebhookEndpointAdmin(ReadOnly):
    list_display = [
        "public_id",
        "team",
        "url",
        "failing_since",
        "disabled_at",
        "disabled_reason",
        "created_at",
    ]
    list_filter = ["disabled_at", "team"]
    search_fields = ["=public_id", "url", "description", "team__name"]
    list_select_related = ["team"]
    actions = ["enable", "disable"]

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
                    by=_actor(request),
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
                endpoint=endpoint, by=_actor(request), address=client_address(request)
            )
            for endpoint in queryset.select_related("team")
        )
        self.message_user(request, f"Disabled: {done}.")


class WebhookDeliveryAdmin(ReadOnly):
    list_display = [
        "public_id",
        "type",
        "batch",
        "url",
        "state",
        "attempts_made",
        "next_attempt_at",
        "created_at",
    ]
    list_filter = ["state", "type"]
    search_fields = ["=public_id", "=batch__public_id", "url"]
    list_select_related = ["batch"]
    actions = ["redeliver"]

    def has_redeliver_permission(self, request: HttpRequest) -> bool:
        """Whoever may change deliveries by Django's permissions may repeat them."""
        return request.user.has_perm("jobs.change_webhookdelivery")

    @admin.action(
        description="Send the chosen messages again", permissions=["redeliver"]
    )
    def redeliver(
        self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]
    ) -> None:
        """A new attempt of each; says which cannot be made."""
        done = 0
        for delivery in queryset.select_related("team", "endpoint", "batch"):
            try:
                endpoints.redeliver(
                    delivery=delivery,
                    by=_actor(request),
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


class WebhookAttemptAdmin(ReadOnly):
    list_display = ["created_at", "delivery", "status_code", "error", "duration_ms"]
    search_fields = ["=delivery__public_id"]
    list_select_related = ["delivery"]


def _actor(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
