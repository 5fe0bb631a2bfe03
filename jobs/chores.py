# SPDX-License-Identifier: Apache-2.0
"""Regular control work that belongs to no single batch.

The main process of each control worker looks every few seconds whether a chore is
wanted and pokes it; any worker may then run it, several at once too. So each chore
takes what it works on by a conditional UPDATE and ends within a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from batchsite.accounts import attempts, sessions

from . import (
    deadlines,
    expiry,
    extensions,
    idempotency,
    removal,
    ring,
    settling,
    stalls,
    usage,
)
from .engines import timeline
from .row_checks import following
from .webhooks import deliver, progress, pruning


@dataclass(frozen=True, slots=True)
class Chore:
    """`wanted` is a cheap look at the database, made every `seconds`; `run` works.

    `run` returns what it did in words, for the list of tasks in the admin.
    """

    name: str
    seconds: float
    wanted: Callable[[], bool]
    run: Callable[[], str]


# One entry a line, by name.
CHORES: tuple[Chore, ...] = (
    Chore("expired files", 60, expiry.files_to_remove, expiry.remove_expired_files),
    Chore("overdue uploads", 60, expiry.uploads_to_expire, expiry.expire_uploads),
    Chore("deleted batches", 60, removal.wanted, removal.run),
    Chore("unnamed bytes", 6 * 3600, lambda: True, expiry.sweep_storage),
    Chore("webhook deliveries", 1, deliver.wanted, deliver.run),
    Chore("webhook progress", 5, progress.wanted, progress.run),
    Chore("deadlines", 30, deadlines.any_at_risk, deadlines.note_risks),
    Chore(following.CHORE, 2, following.wanted, following.run),
    Chore("stalled batches", 10, stalls.wanted, stalls.run),
    Chore("past estimates", 15, settling.wanted, settling.run),
    Chore("usage", usage.LOOK_SECONDS, usage.wanted, usage.run),
    Chore("old samples", 60, ring.wanted, ring.run),
    Chore("idempotency keys", 3600, idempotency.has_old_keys, idempotency.sweep),
    Chore("webhook pruning", 3600, pruning.wanted, pruning.run),
    Chore("engine events", 3600, timeline.old_events, timeline.prune),
    Chore("ended sessions", 3600, sessions.any_ended, sessions.sweep),
    Chore("old sign-in tries", 3600, attempts.any_over, attempts.sweep),
)


def every() -> list[Chore]:
    """All chores, those of other apps too."""
    return [*CHORES, *_added()]


@cache
def _added() -> list[Chore]:
    """Looked up once: a control worker asks for all of them at every beat."""
    modules = [import_module(name) for name in extensions.chore_modules]
    return [chore for module in modules for chore in module.CHORES]


def do_chore(name: str) -> str:
    """Run the chore of that name; KeyError for a name that is none."""
    return {chore.name: chore for chore in every()}[name].run()
