# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
from datetime import timedelta

import openai
import pytest
from django.utils import timezone
from openai.types.webhooks import (
    BatchCancelledWebhookEvent,
    BatchCompletedWebhookEvent,
    BatchExpiredWebhookEvent,
    BatchFailedWebhookEvent,
)
from pytest_django import Settings
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from batchsite.accounts.models import Team
from jobs import outbox
from jobs.models import BatchEvent, WebhookDelivery
from jobs.webhooks.signing import endpoint_secret, headers_for, team_secret
from tests.conftest import MakeBatch
from tests.jobs.webhook_rows import make_delivery, make_endpoint

EVENTS: dict[str, type[openai.BaseModel]] = {
    "completed": BatchCompletedWebhookEvent,
    "failed": BatchFailedWebhookEvent,
    "expired": BatchExpiredWebhookEvent,
    "cancelled": BatchCancelledWebhookEvent,
}


def test_a_secret_has_the_standard_form_and_stays_the_same(team: Team) -> None:
    endpoint = make_endpoint(team)
    secret = endpoint_secret(endpoint)
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    endpoint.refresh_from_db()
    assert endpoint_secret(endpoint) == secret


def test_each_subject_version_and_key_has_its_own_secret(
    team: Team, other_team: Team, settings: Settings
) -> None:
    endpoint = make_endpoint(team)
    secrets = {
        endpoint_secret(endpoint),
        endpoint_secret(endpoint, version=2),
        endpoint_secret(make_endpoint(other_team)),
        team_secret(team),
        team_secret(team, version=2),
        team_secret(other_team),
    }
    assert len(secrets) == 6
    settings.SECRET_KEY = "another one, as after adopting a key"
    assert endpoint_secret(endpoint) not in secrets


def test_standard_webhooks_own_library_verifies(team: Team) -> None:
    endpoint = make_endpoint(team)
    delivery = make_delivery(endpoint, payload='{"text": "ü \\u0000"}')
    headers = headers_for(delivery, at=timezone.now())
    verifier = Webhook(endpoint_secret(endpoint))
    assert verifier.verify(delivery.payload.encode(), headers) == {"text": "ü \0"}
    with pytest.raises(WebhookVerificationError):
        verifier.verify(delivery.payload.replace("ü", "u").encode(), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(team_secret(team)).verify(delivery.payload, headers)


def test_an_old_attempt_cannot_be_replayed(team: Team) -> None:
    endpoint = make_endpoint(team)
    delivery = make_delivery(endpoint)
    headers = headers_for(delivery, at=timezone.now() - timedelta(hours=1))
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(endpoint_secret(endpoint)).verify(delivery.payload, headers)


@pytest.mark.parametrize("status", EVENTS)
def test_openais_sdk_unwraps_each_event(
    team: Team, make_batch: MakeBatch, status: str
) -> None:
    batch = make_batch(status=status, webhook_url="https://93.184.215.14/own")
    moved = BatchEvent.objects.create(batch=batch, kind="status", new_status=status)
    assert outbox.put(moved, f"batch.{status}") == 1
    delivery = WebhookDelivery.objects.get()
    client = openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1")
    found = client.webhooks.unwrap(
        delivery.payload,
        headers_for(delivery, at=timezone.now()),
        secret=team_secret(team),
    )
    assert type(found) is EVENTS[status]
    # Nothing that OpenAI's own types do not have, and nothing missing.
    event = EVENTS[status].model_validate_json(delivery.payload, extra="forbid")
    assert event.to_dict() == {
        "id": json.loads(delivery.payload)["id"],
        "object": "event",
        "created_at": int(moved.created_at.timestamp()),
        "type": f"batch.{status}",
        "data": {"id": batch.public_id},
    }


def test_for_a_day_after_a_rotation_both_secrets_open_the_message(team: Team) -> None:
    endpoint = make_endpoint(team, secret_version=3, secret_rotated_at=timezone.now())
    delivery = make_delivery(endpoint)
    headers = headers_for(delivery, at=timezone.now())
    assert len(headers["webhook-signature"].split(" ")) == 2
    for version in (3, 2):
        secret = endpoint_secret(endpoint, version=version)
        Webhook(secret).verify(delivery.payload, headers)
        openai.OpenAI(api_key="none").webhooks.unwrap(
            delivery.payload, headers, secret=secret
        )
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint_secret(endpoint, version=1)).verify(delivery.payload, headers)


def test_a_day_later_only_the_new_secret_signs(team: Team) -> None:
    rotated = timezone.now() - timedelta(hours=24, minutes=1)
    endpoint = make_endpoint(team, secret_version=2, secret_rotated_at=rotated)
    delivery = make_delivery(endpoint)
    headers = headers_for(delivery, at=timezone.now())
    Webhook(endpoint_secret(endpoint)).verify(delivery.payload, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint_secret(endpoint, version=1)).verify(delivery.payload, headers)


def test_a_rotated_team_secret_signs_batches_own_addresses(
    team: Team, make_batch: MakeBatch
) -> None:
    Team.objects.filter(pk=team.pk).update(
        webhook_secret_version=2, webhook_secret_rotated_at=timezone.now()
    )
    team.refresh_from_db()
    batch = make_batch(webhook_url="https://93.184.215.14/own")
    delivery = make_delivery(None, team=team, batch=batch, url=batch.webhook_url)
    headers = headers_for(delivery, at=timezone.now())
    for version in (1, 2):
        secret = team_secret(team, version=version)
        Webhook(secret).verify(delivery.payload, headers)
