# SPDX-License-Identifier: Apache-2.0
"""What webhooks are to be told, written in the transaction of the event itself."""

from __future__ import annotations

import json
import secrets
from typing import Any

from django.utils import timezone

from batchsite.accounts.models import Team

from .ids import event_id
from .models import BatchEvent, WebhookDelivery, WebhookEndpoint

# OpenAI's batch events, and those of ours.
PROGRESS = "batch.progress"
REVIEW_COMPLETED = "review.completed"
DATASET_READY = "dataset.ready"
EVENT_TYPES = (
    "batch.completed",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
    PROGRESS,
    REVIEW_COMPLETED,
    DATASET_READY,
)


def wants(endpoint: WebhookEndpoint, kind: str) -> bool:
    """Whether the endpoint is told of that type; one without a list is told of all."""
    return not endpoint.events or kind in endpoint.events


def put(event: BatchEvent, kind: str) -> int:
    """Queue `kind` for everybody who wants to hear of the event's batch; how many.

    These are the team's enabled endpoints and the batch's own address, which gets
    everything; where the team has an endpoint of that address, enabled or not, the
    endpoint decides. So nobody is told against the endpoint's word, and all messages to
    an address have one secret. To be called in the transaction that made the event.
    """
    batch = event.batch
    addresses: dict[str, WebhookEndpoint | None] = {}
    if batch.webhook_url:
        addresses[batch.webhook_url] = None
    for endpoint in WebhookEndpoint.objects.filter(team_id=batch.team_id):
        if endpoint.disabled_at is None and wants(endpoint, kind):
            addresses[endpoint.url] = endpoint
        else:
            addresses.pop(endpoint.url, None)
    text = payload(event, kind)
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(
            team_id=batch.team_id,
            endpoint=endpoint,
            batch=batch,
            event=event,
            type=kind,
            url=url,
            payload=text,
        )
        for url, endpoint in addresses.items()
    )
    return len(addresses)


def put_for_team(team: Team, kind: str, data: dict[str, Any]) -> int:
    """Queue `kind` for the team's endpoints that want to hear of it; how many.

    `data` has the id of what it is about. To be called in the transaction of the event.
    """
    endpoints = [
        endpoint
        for endpoint in WebhookEndpoint.objects.filter(team=team, disabled_at=None)
        if wants(endpoint, kind)
    ]
    now = int(timezone.now().timestamp())
    text = _text(f"evt_{secrets.token_hex(12)}", now, kind, data)
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(
            team=team, endpoint=endpoint, type=kind, url=endpoint.url, payload=text
        )
        for endpoint in endpoints
    )
    return len(endpoints)


def payload(event: BatchEvent, kind: str) -> str:
    """OpenAI's webhook event object as JSON text.

    Source: the `Webhook*` schemas of OpenAI's API description: id, object, created_at
    in unix seconds, type, and data with the batch's id. Progress adds its figures.
    """
    data = {"id": event.batch.public_id, **(event.data or {})}
    created_at = int(event.created_at.timestamp())
    return _text(event_id(event.pk), created_at, kind, data)


def _text(id_: str, created_at: int, kind: str, data: dict[str, Any]) -> str:
    return json.dumps(
        {
            "id": id_,
            "object": "event",
            "created_at": created_at,
            "type": kind,
            "data": data,
        }
    )
