# SPDX-License-Identifier: Apache-2.0
"""Attempts to deliver: who makes the next one, and what follows from its answer.

A worker claims an attempt by pushing `next_attempt_at` ahead, so that nobody else makes
it meanwhile; if the worker dies the message is due again when that time has passed. So
each message arrives at least once, and now and then twice.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from batchsite.accounts.people import record
from jobs.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from jobs.models.engines import database_time
from jobs.outbox import PROGRESS

from .answer import Answer
from .signing import headers_for

State = WebhookDelivery.State

# Seconds to wait after the first, second, … failure; after the last one it is over.
WAITS = (5, 30, 120, 600, 3600, 3 * 3600, 8 * 3600, 12 * 3600)
JITTER = 0.2
LONGEST_WAIT = 12 * 3600
# Longer than an attempt can take.
CLAIM_SECONDS = 30
FAILING_SECONDS = 3 * 24 * 3600
GONE = 410


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claimed attempt: what is sent, and the number that guards its outcome."""

    delivery: WebhookDelivery
    number: int
    at: datetime
    headers: dict[str, str]
    body: bytes


def due(
    most: int, *, not_teams: Collection[int] = (), not_urls: Collection[str] = ()
) -> list[WebhookDelivery]:
    """Messages to send now, the one that waits longest first."""
    waiting = WebhookDelivery.objects.due().order_by("next_attempt_at", "id")
    waiting = waiting.exclude(team__in=not_teams).exclude(url__in=not_urls)
    return list(waiting.select_related("team", "endpoint", "batch")[:most])


def claim(delivery: WebhookDelivery) -> Attempt | None:
    """Take the delivery's next attempt; None when there is none to make.

    Another worker may have taken it; or there is no endpoint any more that it could be
    signed for, or nobody wants to hear it any more, which ends the delivery.
    """
    number = delivery.attempts_made + 1
    won = (
        WebhookDelivery.objects.due()
        .filter(pk=delivery.pk, attempts_made=delivery.attempts_made)
        .update(
            attempts_made=number,
            next_attempt_at=database_time(CLAIM_SECONDS),
        )
    )
    if not won:
        return None
    if why := _unsendable(delivery):
        _end(delivery, number, Answer(error=why), timezone.now())
        return None
    at = timezone.now()
    return Attempt(
        delivery,
        number,
        at,
        headers_for(delivery, at=at),
        delivery.payload.encode("utf-8", "replace"),
    )


def _unsendable(delivery: WebhookDelivery) -> str:
    """Why nothing is sent at all, as things stood when the delivery was read."""
    if delivery.endpoint is None:
        if not delivery.is_batchs_own:
            return "The endpoint was deleted."
        if delivery.team.webhook_endpoints.filter(
            url=delivery.url, disabled_at__isnull=False
        ).exists():
            # It decides of the batch's address, too, and is perhaps being deleted.
            return "The endpoint is disabled."
    elif delivery.endpoint.disabled_at is not None:
        return "The endpoint is disabled."
    if is_outdated(delivery):
        return "The batch has ended."
    return ""


def is_outdated(delivery: WebhookDelivery) -> bool:
    """Whether the message tells of the progress of a batch that has ended.

    Its receiver may have heard of the end already, and would take it for running again.
    """
    return (
        delivery.type == PROGRESS
        and delivery.batch is not None
        and delivery.batch.is_terminal
    )


def _end(delivery: WebhookDelivery, number: int, answer: Answer, at: datetime) -> None:
    """Note a last attempt that failed."""
    with transaction.atomic():
        WebhookDelivery.objects.filter(
            pk=delivery.pk, state=State.PENDING, attempts_made=number
        ).update(state=State.FAILED)
        _note(delivery, answer, at)


def finish(attempt: Attempt, answer: Answer) -> None:
    """Store what an attempt came to, and say what follows: done, again, or given up."""
    with transaction.atomic():
        mine = WebhookDelivery.objects.filter(
            pk=attempt.delivery.pk, state=State.PENDING
        )
        if answer.accepted:
            # Whoever else may be at it: the receiver has the message.
            mine.update(state=State.DELIVERED)
        else:
            _put_off(mine.filter(attempts_made=attempt.number), attempt.number, answer)
        _note(attempt.delivery, answer, attempt.at)
        if attempt.delivery.endpoint is not None:
            _judge(attempt.delivery.endpoint, answer)


def _put_off(mine: QuerySet[WebhookDelivery], number: int, answer: Answer) -> None:
    if answer.status == GONE or number > len(WAITS):
        mine.update(state=State.FAILED)
        return
    mine.update(next_attempt_at=database_time(wait(number, answer.retry_after)))


def wait(number: int, retry_after: float | None = None) -> float:
    """Seconds from the failure of attempt `number` (from 1) to the next attempt.

    The receiver's own wish counts where it is longer, up to 12 h.
    """
    planned = WAITS[min(number, len(WAITS)) - 1]
    jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
    return max(planned * jitter, min(retry_after or 0, LONGEST_WAIT))


def _note(delivery: WebhookDelivery, answer: Answer, at: datetime) -> None:
    WebhookAttempt.objects.create(
        delivery=delivery,
        status_code=answer.status,
        response=answer.text,
        error=answer.error,
        duration_ms=answer.duration_ms,
        created_at=at,
    )


def _judge(endpoint: WebhookEndpoint, answer: Answer) -> None:
    """Keep since when the endpoint only fails; after three days it is disabled."""
    row = WebhookEndpoint.objects.filter(pk=endpoint.pk, disabled_at__isnull=True)
    if answer.accepted:
        row.filter(failing_since__isnull=False).update(failing_since=None)
        return
    row.filter(failing_since__isnull=True).update(failing_since=Now())
    if answer.status == GONE:
        _disable(endpoint, "The receiver answered 410 Gone.")
    elif row.filter(failing_since__lte=database_time(-FAILING_SECONDS)).exists():
        _disable(endpoint, "Every attempt failed for three days.")


def _disable(endpoint: WebhookEndpoint, reason: str) -> None:
    """Switch the endpoint off; `failing_since` stays and tells it from people's doing."""
    won = WebhookEndpoint.objects.filter(
        pk=endpoint.pk, disabled_at__isnull=True
    ).update(disabled_at=Now(), disabled_reason=reason)
    if won:
        record(
            action="webhook.disable",
            actor=None,
            team=endpoint.team,
            target=endpoint.public_id,
            url=endpoint.url,
            reason=reason,
        )
