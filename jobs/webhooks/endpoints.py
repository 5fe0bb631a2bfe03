# SPDX-License-Identifier: Apache-2.0
"""Operations on a team's endpoints and its delivery log.

Who may call them is decided by the views; `by` is who did it. Each change leaves its
line in the audit log.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import record
from jobs.models import WebhookDelivery, WebhookEndpoint
from jobs.models.engines import database_time
from jobs.outbox import EVENT_TYPES

from .addresses import check_address
from .attempts import CLAIM_SECONDS, is_outdated

State = WebhookDelivery.State
TEST = "webhook.test"
MOST_OF_A_TEAM = 20
SLICE = 500


class CannotChange(ValueError):
    """The change is not possible; the message is for the person who asked for it."""


def create(
    *,
    team: Team,
    url: str,
    description: str = "",
    events: Iterable[str] = (),
    by: User | None,
    address: str | None = None,
) -> WebhookEndpoint:
    """A new endpoint; `events` are of outbox.EVENT_TYPES, none means all.

    Raises AddressError for a URL that webhooks are not sent to, and CannotChange for
    one that the team has already, for unknown events and for more than 20 endpoints.
    """
    check_address(url)
    chosen = _known(events)
    with transaction.atomic():
        Team.objects.select_for_update(no_key=True).get(pk=team.pk)
        if team.webhook_endpoints.count() >= MOST_OF_A_TEAM:
            raise CannotChange(f"A team has {MOST_OF_A_TEAM} endpoints at most.")
        if team.webhook_endpoints.filter(url=url).exists():
            raise CannotChange("The team has an endpoint with this URL already.")
        endpoint = WebhookEndpoint.objects.create(
            team=team,
            url=url,
            description=description,
            events=chosen,
            created_by=by,
        )
        _audit("webhook.create", endpoint, by, address, events=chosen)
    return endpoint


def change(
    *,
    endpoint: WebhookEndpoint,
    description: str,
    events: Iterable[str],
    by: User | None,
    address: str | None = None,
) -> None:
    """Another description or other events; CannotChange for unknown events."""
    chosen = _known(events)
    if (endpoint.description, endpoint.events) == (description, chosen):
        return
    endpoint.description, endpoint.events = description, chosen
    with transaction.atomic():
        endpoint.save(update_fields=["description", "events"])
        _audit("webhook.change", endpoint, by, address, events=chosen)


def _known(events: Iterable[str]) -> list[str]:
    """The chosen types in their usual order; all of them is the empty list."""
    chosen = set(events)
    if unknown := chosen.difference(EVENT_TYPES):
        raise CannotChange(f"There is no event {sorted(unknown)[0]!r}.")
    if chosen == set(EVENT_TYPES):
        return []
    return [kind for kind in EVENT_TYPES if kind in chosen]


def rotate(
    *,
    endpoint: WebhookEndpoint,
    version: int,
    by: User | None,
    address: str | None = None,
) -> bool:
    """Give the endpoint another secret, if `version` is still the present one.

    So a form that is sent twice rotates once. The old secret signs along for 24 h.
    """
    with transaction.atomic():
        won = WebhookEndpoint.objects.filter(
            pk=endpoint.pk, secret_version=version
        ).update(secret_version=version + 1, secret_rotated_at=Now())
        if won:
            _audit("webhook.rotate", endpoint, by, address, version=version + 1)
    return bool(won)


def rotate_team(
    *, team: Team, version: int, by: User | None, address: str | None = None
) -> bool:
    """The same for the secret of addresses that the team's batches bring along."""
    with transaction.atomic():
        won = Team.objects.filter(pk=team.pk, webhook_secret_version=version).update(
            webhook_secret_version=version + 1, webhook_secret_rotated_at=Now()
        )
        if won:
            record(
                action="webhook.rotate",
                actor=by,
                team=team,
                target="addresses of batches",
                address=address,
                version=version + 1,
            )
    return bool(won)


def enable(
    *, endpoint: WebhookEndpoint, by: User | None, address: str | None = None
) -> bool:
    """Send to the endpoint again; False when it was enabled.

    Raises AddressError when its URL is not allowed any more.
    """
    check_address(endpoint.url)
    with transaction.atomic():
        won = WebhookEndpoint.objects.filter(
            pk=endpoint.pk, disabled_at__isnull=False
        ).update(disabled_at=None, disabled_reason="", failing_since=None)
        if won:
            _audit("webhook.enable", endpoint, by, address)
    return bool(won)


def disable(
    *, endpoint: WebhookEndpoint, by: User | None, address: str | None = None
) -> bool:
    """Send nothing more; False when it was disabled. What comes due meanwhile fails."""
    with transaction.atomic():
        won = WebhookEndpoint.objects.filter(
            pk=endpoint.pk, disabled_at__isnull=True
        ).update(
            disabled_at=Now(),
            disabled_reason=f"Disabled by {by}." if by else "Disabled.",
            failing_since=None,
        )
        if won:
            _audit("webhook.disable", endpoint, by, address, reason="by hand")
    return bool(won)


def delete(
    *, endpoint: WebhookEndpoint, by: User | None, address: str | None = None
) -> None:
    """Forget the endpoint and its secret; its deliveries stay in the team's log.

    It is disabled first: who is interrupted leaves an endpoint that is told nothing, and
    deletes it again.
    """
    disable(endpoint=endpoint, by=by, address=address)
    while keys := list(endpoint.deliveries.values_list("pk", flat=True)[:SLICE]):
        WebhookDelivery.objects.filter(pk__in=keys).update(endpoint=None)
    with transaction.atomic():
        gone, _ = WebhookEndpoint.objects.filter(pk=endpoint.pk).delete()
        if gone:
            _audit("webhook.delete", endpoint, by, address)


def send_test(
    *, endpoint: WebhookEndpoint, by: User | None, address: str | None = None
) -> WebhookDelivery:
    """Queue a message of type webhook.test; CannotChange while it is disabled."""
    if endpoint.disabled_at is not None:
        raise CannotChange("Enable the endpoint first.")
    now = timezone.now()
    payload = {
        "id": f"evt_{secrets.token_hex(12)}",
        "object": "event",
        "created_at": int(now.timestamp()),
        "type": TEST,
        "data": {"id": endpoint.public_id},
    }
    with transaction.atomic():
        delivery = WebhookDelivery.objects.create(
            team=endpoint.team,
            endpoint=endpoint,
            type=TEST,
            url=endpoint.url,
            payload=json.dumps(payload),
        )
        _audit("webhook.test", endpoint, by, address, message=delivery.public_id)
    return delivery


def redeliver(
    *, delivery: WebhookDelivery, by: User | None, address: str | None = None
) -> None:
    """Make a new attempt of the same message as soon as possible, whatever its state.

    CannotChange where there is nobody to sign for, while the endpoint is disabled, for
    the progress of a batch that has ended, and when an attempt is under way or comes
    within half a minute anyhow.
    """
    if delivery.endpoint is None and not delivery.is_batchs_own:
        raise CannotChange("Its endpoint was deleted.")
    if delivery.endpoint is not None and delivery.endpoint.disabled_at is not None:
        raise CannotChange("Enable the endpoint first.")
    if is_outdated(delivery):
        raise CannotChange("Its batch has ended: progress is told while it runs.")
    with transaction.atomic():
        rows = WebhookDelivery.objects.filter(pk=delivery.pk)
        # A claimed attempt looks like one that waits; it ends before its claim does.
        idle = rows.exclude(state=State.PENDING) | rows.filter(
            next_attempt_at__gt=database_time(CLAIM_SECONDS)
        )
        if not idle.update(state=State.PENDING, next_attempt_at=Now()):
            raise CannotChange("It is under way, or sent within half a minute.")
        record(
            action="webhook.redeliver",
            actor=by,
            team=delivery.team,
            target=delivery.public_id,
            address=address,
            url=delivery.url,
        )


def switched_off(user: User) -> QuerySet[WebhookEndpoint]:
    """Endpoints of the user's teams that were disabled because nothing arrived."""
    return (
        WebhookEndpoint.objects.visible_to(user)
        .filter(disabled_at__isnull=False, failing_since__isnull=False)
        .select_related("team")
    )


def _audit(
    action: str,
    endpoint: WebhookEndpoint,
    by: User | None,
    address: str | None,
    **data: object,
) -> None:
    record(
        action=action,
        actor=by,
        team=endpoint.team,
        target=endpoint.public_id,
        address=address,
        url=endpoint.url,
        **data,
    )
