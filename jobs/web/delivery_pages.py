# SPDX-License-Identifier: Apache-2.0
"""The delivery log by keyset, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict

from jobs.models import WebhookDelivery

DELIVERIES = 25
STATES = tuple(WebhookDelivery.State.values)


@dataclass(frozen=True)
class DeliveryPage:
    """One page of the log, and the addresses of its neighbours."""

    rows: list[WebhookDelivery]
    state: str
    newer: str
    older: str
    states: tuple[str, ...] = STATES

    @property
    def waiting(self) -> bool:
        """Whether a row may change by itself."""
        return any(row.state == WebhookDelivery.State.PENDING for row in self.rows)

    @property
    def shown(self) -> tuple[Any, ...]:
        """What the rows display: a change here is a change there."""
        return (
            self.newer,
            self.older,
            [
                (row.pk, row.state, row.attempts_made, row.next_attempt_at)
                for row in self.rows
            ],
        )


def delivery_page(found: QuerySet[WebhookDelivery], query: QueryDict) -> DeliveryPage:
    """The page that `state`, `before` and `after` (public ids) name.

    An unknown state is as good as none; after an unknown delivery comes nothing.
    """
    before, after = query.get("before", ""), query.get("after", "")
    # Of the same deliveries alone, but in any state: it may have moved meanwhile.
    named = found.filter(public_id=after or before).order_by().values("pk")[:1]
    state = query.get("state", "")
    state = state if state in STATES else ""
    if state:
        found = found.filter(state=state)
    if after:
        found = found.filter(pk__gt=named).order_by("id")
    elif before:
        found = found.filter(pk__lt=named)
    rows = list(found.select_related("batch", "endpoint")[: DELIVERIES + 1])
    more = len(rows) > DELIVERIES
    rows = rows[:DELIVERIES]
    if after:
        rows.reverse()
    return DeliveryPage(
        rows,
        state,
        _address(state, after=rows[0].public_id)
        if rows and (more if after else before)
        else "",
        _address(state, before=rows[-1].public_id) if rows and (after or more) else "",
    )


def _address(state: str, **place: str) -> str:
    query = QueryDict(mutable=True)
    query.update({"state": state} | place if state else place)
    return f"?{query.urlencode()}"
