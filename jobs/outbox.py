# SPDX-License-Identifier: Apache-2.0
"""What webhooks are to be told, written in the transaction of the event itself."""

from __future__ import annotations

import json

from .ids import event_id
from .models import BatchEvent, WebhookDelivery, WebhookEndpoint

# OpenAI's batch events, and one of ours.
PROGRESS = "batch.progress"
EVENT_TYPES = (
    "batch.completed",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
    PROGRESS,
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


def payload(event: BatchEvent, kind: str) -> str:
    """OpenAI's webhook event object as JSON text.

    Source: the `Webhook*` schemas of OpenAI's API description: id, object, created_at
    in unix seconds, type, and data with the batch's id. Progress adds its figures.
    """
    data = {"id": event.batch.public_id, **(event.data or {})}
    return json.dumps(
        {
            "id": event_id(event.pk),
            "object": "event",
            "created_at": int(event.created_at.timestamp()),
            "type": kind,
            "data": data,
        }
    )
