# SPDX-License-Identifier: Apache-2.0
"""The host's columns of the Engine row, as this process knows them.

The row follows: with each change, and with each heartbeat. While the database is away
the copy goes on, and the row is made up for afterwards, its timeline too.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import transaction
from django.utils import timezone

from jobs.models import Engine, EngineEvent

from .hostrow import HostRow
from .timeline import Timeline

log = logging.getLogger(__name__)


class RowCopy:
    """One engine's columns and timeline on their way to the database.

    `model` is the name of the model that the moves are about. `since` and `written`
    are monotonic times: of the last move to another state and of the last write.
    """

    def __init__(self, row: HostRow) -> None:
        self.row = row
        self.columns: dict[str, Any] = {"state": Engine.State.STOPPED}
        self.model = ""
        self.since = time.monotonic()
        self.written = 0.0
        self.changed = False
        self._once: dict[str, Any] = {}
        self._timeline = Timeline(row.pk)

    @property
    def state(self) -> Engine.State:
        """The engine's state, whatever the row says."""
        return Engine.State(self.columns["state"])

    def move(
        self,
        state: Engine.State,
        reason: str,
        *,
        kind: EngineEvent.Kind = EngineEvent.Kind.MOVED,
        **columns: Any,
    ) -> None:
        """The engine is now in `state`; the row follows with the next flush."""
        if state != self.state:
            now = time.monotonic()
            columns["state_since"] = timezone.now()
            log.info("engine %s: %s, %s", self.row.name, state, reason)
            self._note(kind, reason, new_state=state, seconds=now - self.since)
            self.since = now
        columns |= {"state": state, "state_reason": reason}
        if any(self.columns.get(name) != value for name, value in columns.items()):
            self.columns |= columns
            self.changed = True

    def note(self, kind: EngineEvent.Kind, reason: str, **once: Any) -> None:
        """Something happened that is no move; `once` are columns to write one time.

        They are other writers' columns: with each heartbeat they would undo what
        those write.
        """
        log.info("engine %s: %s, %s", self.row.name, kind, reason)
        self._note(kind, reason)
        self._once |= once
        self.changed = True

    def _note(self, kind: EngineEvent.Kind, reason: str, **more: Any) -> None:
        old = self.state if "new_state" in more else ""
        self._timeline.note(
            kind=kind,
            reason=reason,
            old_state=old,
            model=self.model,
            generation=self.columns.get("generation", 0),
            **more,
        )

    def flush(self) -> None:
        """Write the columns and the timeline, all or nothing; LostToken when not ours."""
        with transaction.atomic():
            self.row.write(**self.columns, **self._once)
            saved = self._timeline.save()
        self._timeline.forget(saved)
        self._once = {}
        self.changed = False
        self.written = time.monotonic()
