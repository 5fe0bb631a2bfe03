# SPDX-License-Identifier: Apache-2.0
"""A team's webhook endpoints in the browser: members look, owners manage."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.text import Truncator
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import Team, User
from batchsite.accounts.people import record
from jobs.access import person
from jobs.models import WebhookDelivery, WebhookEndpoint
from jobs.outbox import EVENT_TYPES
from jobs.webhooks import AddressError, endpoints, signing
from jobs.webhooks.endpoints import CannotChange

from .conditional import fragment, page
from .delivery_pages import delivery_page
from .engines import Alarm
from .webhook_forms import EVENT_WORDS, ChangeForm, EndpointForm

MOST_ALARMS = 3
# Enough of an address to tell endpoints apart; their pages show all of it.
ALARM_URL = 60


def get_team(request: HttpRequest, pk: int, right: str) -> Team:
    """The team, for those who hold `right` in it; 404 for strangers, 403 for others."""
    user = person(request)
    team = get_object_or_404(Team.objects.visible_to(user), pk=pk)
    permissions.require(user, team, right)
    return team


def get_endpoint(
    request: HttpRequest, team: int, code: str, right: str = "webhooks:manage"
) -> WebhookEndpoint:
    """The team's endpoint with that public id, for those who hold `right`."""
    found = get_team(request, team, right)
    rows = WebhookEndpoint.objects.filter(team=found)
    return get_object_or_404(rows.select_related("team", "created_by"), public_id=code)


def alarms(user: User) -> list[Alarm]:
    """Endpoints of the user's teams that were switched off because nothing arrived."""
    return [
        Alarm(
            f"A webhook of {endpoint.team} is switched off.",
            f"{Truncator(endpoint.url).chars(ALARM_URL)}: {endpoint.disabled_reason}",
            page=_detail_address(endpoint)
            if permissions.user_may(user, endpoint.team, "webhooks:read")
            else "",
        )
        for endpoint in endpoints.switched_off(user)[:MOST_ALARMS]
    ]


def _detail_address(endpoint: WebhookEndpoint) -> str:
    return reverse("team-webhooks-detail", args=[endpoint.team_id, endpoint.public_id])


@require_safe
@login_required
def endpoint_list(request: HttpRequest, team: int) -> HttpResponse:
    """The team's endpoints and the secret of addresses that batches bring along."""
    return _list(request, get_team(request, team, "webhooks:read"))


def _list(request: HttpRequest, team: Team, **more: Any) -> HttpResponse:
    ctx = {
        "team": team,
        "rows": team.webhook_endpoints.order_by("id"),
        "manages": permissions.user_may(person(request), team, "webhooks:manage"),
        "most": endpoints.MOST_OF_A_TEAM,
        "deliveries": WebhookDelivery.objects.filter(team=team).exists(),
    }
    return page(request, "jobs/webhook_list.html", ctx | more)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def endpoint_new(request: HttpRequest, team: int) -> HttpResponse:
    """The form for a new endpoint."""
    found = get_team(request, team, "webhooks:manage")
    form = EndpointForm(request.POST or None, auto_id="endpoint_%s")
    if request.method == "POST" and form.is_valid():
        try:
            endpoint = endpoints.create(
                team=found,
                url=form.cleaned_data["url"],
                description=form.cleaned_data["description"],
                events=form.cleaned_data["events"],
                **_by(request),
            )
        except (AddressError, CannotChange) as refused:
            form.add_error("url", str(refused))
        else:
            messages.success(
                request, "The endpoint is made. Give its server the secret."
            )
            return redirect(
                "team-webhooks-detail", team=found.pk, code=endpoint.public_id
            )
    ctx = {"team": found, "form": form, "words": EVENT_WORDS}
    return page(request, "jobs/webhook_new.html", ctx)


@require_safe
@login_required
def endpoint_detail(request: HttpRequest, team: int, code: str) -> HttpResponse:
    """One endpoint with its log; polls get the log alone."""
    endpoint = get_endpoint(request, team, code, "webhooks:read")
    if getattr(request, "htmx", False):
        log = delivery_page(endpoint.deliveries.all(), request.GET)
        ctx = {"team": endpoint.team, "log": log, "address": request.get_full_path()}
        return fragment(request, "jobs/_webhook_log.html", ctx, log.shown)
    return _detail(request, endpoint)


def _detail(
    request: HttpRequest, endpoint: WebhookEndpoint, **more: Any
) -> HttpResponse:
    initial = {
        "description": endpoint.description,
        "events": endpoint.events or list(EVENT_TYPES),
    }
    ctx = {
        "team": endpoint.team,
        "endpoint": endpoint,
        "manages": permissions.user_may(
            person(request), endpoint.team, "webhooks:manage"
        ),
        "events": endpoint.events or list(EVENT_TYPES),
        "form": ChangeForm(initial=initial, auto_id="endpoint_%s"),
        "words": EVENT_WORDS,
        "log": delivery_page(endpoint.deliveries.all(), request.GET),
        "address": f"{_detail_address(endpoint)}?{request.GET.urlencode()}",
    }
    return page(request, "jobs/webhook_detail.html", ctx | more)


@require_POST
@login_required
def endpoint_change(request: HttpRequest, team: int, code: str) -> HttpResponse:
    """Another description, other events."""
    endpoint = get_endpoint(request, team, code)
    form = ChangeForm(request.POST, auto_id="endpoint_%s")
    if not form.is_valid():
        return _detail(request, endpoint, form=form)
    endpoints.change(
        endpoint=endpoint,
        description=form.cleaned_data["description"],
        events=form.cleaned_data["events"],
        **_by(request),
    )
    messages.success(request, "The endpoint is changed.")
    return redirect("team-webhooks-detail", team=team, code=code)


@require_POST
@login_required
def endpoint_secret(request: HttpRequest, team: int, code: str) -> HttpResponse:
    """The endpoint's page with its secret on it, this once."""
    endpoint = get_endpoint(request, team, code)
    _audit_showing(request, endpoint.team, endpoint.public_id)
    secret = signing.endpoint_secret(endpoint)
    return _unstored(_detail(request, endpoint, secret=secret))


@require_POST
@login_required
def endpoint_rotate(request: HttpRequest, team: int, code: str) -> HttpResponse:
    """Another secret; a form that is sent twice rotates once."""
    endpoint = get_endpoint(request, team, code)
    version = _version(request)
    if endpoints.rotate(endpoint=endpoint, version=version, **_by(request)):
        messages.success(request, "The secret is rotated. Both sign for 24 hours.")
    else:
        messages.info(request, "The secret was rotated already.")
    return redirect("team-webhooks-detail", team=team, code=code)


@require_POST
@login_required
def endpoint_enable(request: HttpRequest, team: int, code: str) -> HttpResponse:
    """Send there again."""
    endpoint = get_endpoint(request, team, code)
    try:
        if endpoints.enable(endpoint=endpoint, **_by(request)):
            messages.success(request, "The endpoint is enabled.")
    except AddressError as refused:
        messages.error(request, str(refused))
    return redirect("team-webhooks-detail", team=team, code=code)


@require_POST
@login_required
def endpoint_disable(request: HttpRequest, team: int, code: str) -> HttpResponse:
    """Send nothing there until it is enabled again."""
    endpoint = get_endpoint(request, team, code)
    if endpoints.disable(endpoint=endpoint, **_by(request)):
        messages.success(request, "The endpoint is disabled.")
    return redirect("team-webhooks-detail", team=team, code=code)


@require_POST
@login_required
def endpoint_delete(request: HttpRequest, team: int, code: str) -> HttpResponse:
    """Forget the endpoint; the log of the team keeps its deliveries."""
    found = get_team(request, team, "webhooks:manage")
    endpoint = found.webhook_endpoints.filter(public_id=code).first()
    if endpoint is None:
        messages.info(request, "This endpoint is not there any more.")
    else:
        endpoints.delete(endpoint=endpoint, **_by(request))
        messages.success(request, "The endpoint is deleted.")
    return redirect("team-webhooks", team=team)


@require_POST
@login_required
def endpoint_test(request: HttpRequest, team: int, code: str) -> HttpResponse:
    """Send a test message, and go where its answer will be seen."""
    endpoint = get_endpoint(request, team, code)
    try:
        delivery = endpoints.send_test(endpoint=endpoint, **_by(request))
    except CannotChange as refused:
        messages.error(request, str(refused))
        return redirect("team-webhooks-detail", team=team, code=code)
    return redirect("team-webhooks-delivery", team=team, code=delivery.public_id)


@require_POST
@login_required
def team_secret(request: HttpRequest, team: int) -> HttpResponse:
    """The list with the secret of addresses that batches bring along, this once."""
    found = get_team(request, team, "webhooks:manage")
    _audit_showing(request, found, "addresses of batches")
    return _unstored(_list(request, found, secret=signing.team_secret(found)))


@require_POST
@login_required
def team_rotate(request: HttpRequest, team: int) -> HttpResponse:
    """Another secret for the addresses that batches bring along."""
    found = get_team(request, team, "webhooks:manage")
    if endpoints.rotate_team(team=found, version=_version(request), **_by(request)):
        messages.success(request, "The secret is rotated. Both sign for 24 hours.")
    else:
        messages.info(request, "The secret was rotated already.")
    return redirect("team-webhooks", team=team)


def _by(request: HttpRequest) -> dict[str, Any]:
    return {"by": person(request), "address": client_address(request)}


def _version(request: HttpRequest) -> int:
    """The version of the secret that the page showed; 0, which none is, for nonsense."""
    text = request.POST.get("version", "")
    return int(text[:9]) if text.isascii() and text.isdecimal() else 0


def _audit_showing(request: HttpRequest, team: Team, target: str) -> None:
    record(
        action="webhook.secret",
        actor=person(request),
        team=team,
        target=target,
        address=client_address(request),
    )


def _unstored(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store, private"
    return response
