# SPDX-License-Identifier: Apache-2.0
"""What was sent to a team's webhooks, and what came back."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST, require_safe

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address
from jobs.access import person
from jobs.models import WebhookDelivery
from jobs.webhooks import endpoints, signing
from jobs.webhooks.attempts import WAITS

from .conditional import fragment, page
from .delivery_pages import delivery_page
from .webhooks import get_team

# The newest attempts of a delivery; redelivered ones can have more.
ATTEMPTS = 50


@require_safe
@login_required
def delivery_list(request: HttpRequest, team: int) -> HttpResponse:
    """All deliveries of the team, newest first; polls get the rows alone."""
    found = get_team(request, team, "webhooks:read")
    log = delivery_page(found.webhook_deliveries.all(), request.GET)
    ctx = {
        "team": found,
        "log": log,
        "whole": True,
        "address": request.get_full_path(),
    }
    if getattr(request, "htmx", False):
        return fragment(request, "jobs/_webhook_log.html", ctx, log.shown)
    return page(request, "jobs/webhook_deliveries.html", ctx)


def _get_delivery(
    request: HttpRequest, team: int, code: str, right: str
) -> WebhookDelivery:
    rows = WebhookDelivery.objects.filter(team=get_team(request, team, right))
    return get_object_or_404(
        rows.select_related("team", "endpoint", "batch"), public_id=code
    )


@require_safe
@login_required
def delivery_detail(request: HttpRequest, team: int, code: str) -> HttpResponse:
    """One message as it was sent, and every attempt with its answer."""
    delivery = _get_delivery(request, team, code, "webhooks:read")
    tries = list(delivery.attempts.order_by("-id")[:ATTEMPTS])
    ctx: dict[str, Any] = {
        "team": delivery.team,
        "delivery": delivery,
        "tries": tries,
        "headers": signing.headers_sent(delivery, at=tries[0].created_at)
        if tries
        else {},
        "most": len(WAITS) + 1,
        "manages": permissions.user_may(
            person(request), delivery.team, "webhooks:manage"
        ),
        "signable": delivery.endpoint is not None or delivery.is_batchs_own,
    }
    if getattr(request, "htmx", False):
        shown = (delivery.state, delivery.next_attempt_at, len(tries))
        return fragment(request, "jobs/_webhook_delivery.html", ctx, shown)
    return page(request, "jobs/webhook_delivery.html", ctx)


@require_POST
@login_required
def delivery_redeliver(request: HttpRequest, team: int, code: str) -> HttpResponse:
    """Send the same message once more."""
    delivery = _get_delivery(request, team, code, "webhooks:manage")
    try:
        endpoints.redeliver(
            delivery=delivery, by=person(request), address=client_address(request)
        )
    except endpoints.CannotChange as refused:
        messages.error(request, str(refused))
    return redirect("team-webhooks-delivery", team=team, code=code)
