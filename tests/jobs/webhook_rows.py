# SPDX-License-Identifier: Apache-2.0
"""Rows of webhooks that several test files need."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from batchsite.accounts.models import Team
from jobs.models import WebhookDelivery, WebhookEndpoint

PUBLIC = "https://93.184.215.14/hook"


def make_endpoint(team: Team, url: str = PUBLIC, **columns: Any) -> WebhookEndpoint:
    """An endpoint; other keywords are columns."""
    return WebhookEndpoint.objects.create(team=team, url=url, **columns)


def make_delivery(
    endpoint: WebhookEndpoint | None, *, due: bool = True, **columns: Any
) -> WebhookDelivery:
    """A message to the endpoint, due since a minute, or in an hour."""
    wait = timedelta(minutes=-1 if due else 60)
    defaults: dict[str, Any] = {
        "endpoint": endpoint,
        "type": "batch.completed",
        "payload": '{"type": "batch.completed"}',
        "next_attempt_at": timezone.now() + wait,
    }
    if endpoint is not None:
        defaults |= {"team": endpoint.team, "url": endpoint.url}
    return WebhookDelivery.objects.create(**defaults | columns)
