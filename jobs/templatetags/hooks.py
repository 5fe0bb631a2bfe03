# SPDX-License-Identifier: Apache-2.0
"""How the states of webhooks are written."""

from __future__ import annotations

from django import template

from jobs.models import WebhookDelivery, WebhookEndpoint

register = template.Library()

State = WebhookDelivery.State


@register.inclusion_tag("jobs/_status_chip.html")
def endpoint_chip(endpoint: WebhookEndpoint) -> dict[str, str]:
    """Whether the endpoint is told, as icon and word."""
    if endpoint.disabled_at and endpoint.failing_since:
        return _chip("off", "red", "switched off")
    if endpoint.disabled_at:
        return _chip("off", "plain", "disabled")
    if endpoint.failing_since:
        return _chip("alert", "amber", "failing")
    return _chip("check", "green", "enabled")


@register.inclusion_tag("jobs/_status_chip.html")
def delivery_chip(delivery: WebhookDelivery) -> dict[str, str]:
    """The delivery's state as icon and word."""
    if delivery.state == State.DELIVERED:
        return _chip("check", "green", "delivered")
    if delivery.state == State.FAILED:
        return _chip("cross", "red", "failed")
    if delivery.attempts_made:
        return _chip("load", "amber", "to be tried again")
    return _chip("clock", "blue", "waiting")


def _chip(picture: str, colour: str, word: str) -> dict[str, str]:
    return {"picture": picture, "colour": colour, "word": word}


@register.filter
def state_word(state: str) -> str:
    """The word of a filter."""
    return "open" if state == State.PENDING else state
