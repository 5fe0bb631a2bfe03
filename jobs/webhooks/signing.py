# SPDX-License-Identifier: Apache-2.0
"""Signing secrets and the headers of Standard Webhooks.

Secrets are not stored: each follows from SECRET_KEY, what it belongs to, and a version
that a rotation raises. So a stolen database signs nothing, and another SECRET_KEY means
other secrets.
"""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

from django.conf import settings
from django.utils.crypto import salted_hmac
from standardwebhooks.webhooks import Webhook

from batchsite.accounts.models import Team
from jobs.models import WebhookDelivery, WebhookEndpoint

# After a rotation messages carry the old signature, too, for so long.
OVERLAP = timedelta(hours=24)


def endpoint_secret(endpoint: WebhookEndpoint, *, version: int | None = None) -> str:
    """The endpoint's `whsec_…`, of its present version unless another is asked for."""
    return _secret(endpoint.public_id, version or endpoint.secret_version)


def team_secret(team: Team, *, version: int | None = None) -> str:
    """The secret for addresses that the team's batches bring along themselves."""
    return _secret(f"team-{team.pk}", version or team.webhook_secret_version)


def _secret(subject: str, version: int) -> str:
    """Standard Webhooks' form: `whsec_` and the base64 of 24 to 64 random bytes."""
    key = salted_hmac(
        "jobs.webhooks.secret", f"{subject}|{version}", algorithm="sha256"
    ).digest()
    return f"whsec_{base64.b64encode(key).decode()}"


def secrets_of(delivery: WebhookDelivery, *, at: datetime) -> list[str]:
    """What signs the message: the present secret, and the one before for 24 h."""
    subject, version, rotated = _signer(delivery)
    versions = [version]
    if version > 1 and rotated and rotated > at - OVERLAP:
        versions.append(version - 1)
    return [_secret(subject, one) for one in versions]


def _signer(delivery: WebhookDelivery) -> tuple[str, int, datetime | None]:
    """Whose secret it is, its version, and when it was rotated last."""
    if endpoint := delivery.endpoint:
        return (
            endpoint.public_id,
            endpoint.secret_version,
            endpoint.secret_rotated_at,
        )
    team = delivery.team
    return (
        f"team-{team.pk}",
        team.webhook_secret_version,
        team.webhook_secret_rotated_at,
    )


def headers_for(delivery: WebhookDelivery, *, at: datetime) -> dict[str, str]:
    """The headers of an attempt made at that time; the body is `delivery.payload`.

    Source: Standard Webhooks, "Webhook headers": the signature is over
    `id.timestamp.body`, several are separated by spaces.
    """
    signatures = [
        Webhook(secret).sign(delivery.public_id, at, delivery.payload)
        for secret in secrets_of(delivery, at=at)
    ]
    return {
        "Content-Type": "application/json",
        "User-Agent": f"Batchsite/{settings.VERSION}",
        "webhook-id": delivery.public_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def headers_sent(delivery: WebhookDelivery, *, at: datetime) -> dict[str, str]:
    """The headers of an attempt that was made at that time, for people to read.

    Secrets are not kept, so where the signing one is gone words stand for it.
    """
    headers = headers_for(delivery, at=at)
    rotated = _signer(delivery)[2]
    if delivery.endpoint is None and not delivery.is_batchs_own:
        headers["webhook-signature"] = "(by the secret of an endpoint that was deleted)"
    elif rotated and rotated > at:
        headers["webhook-signature"] = "(by a secret that was rotated since)"
    return headers
