# SPDX-License-Identifier: Apache-2.0
"""django-q2's queue in the database, with a cheaper look at it while it is empty."""

from __future__ import annotations

import time
from functools import cache

from django.db import connections
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ

from .kept_sql import sql_of


class Broker(ORM):  # type: ignore[misc]  # django-q2 is untyped
    """As django-q2's own.

    A pusher looks several times a second, for ever: that took each worker one or two
    hundredths of a core, from an engine that may need them all.
    """

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Up to `bulk` tasks, each by its key and what it says; None after a pause."""
        # It ends a connection that is of no use any more.
        self.get_connection()
        if self._is_empty():
            time.sleep(Conf.POLL)
            return None
        found: list[tuple[int, str]] | None = super().dequeue()
        return found

    def _is_empty(self) -> bool:
        connection = connections[Conf.ORM]
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        with connection.cursor() as cursor:
            cursor.execute(_waiting_sql(), [self.list_key, now])
            return cursor.fetchone() is None


@cache
def _waiting_sql() -> str:
    """Asks whether a task of a queue is free at a time."""
    at = timezone.now()
    waiting = OrmQ.objects.filter(key="queue", lock__lt=at).order_by().values("pk")[:1]
    adapted = connections[Conf.ORM].ops.adapt_datetimefield_value(at)
    return sql_of(waiting, "queue", adapted)
