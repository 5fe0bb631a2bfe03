# SPDX-License-Identifier: Apache-2.0
"""The chore that sends what is due: many messages at once, a few for each receiver.

Of the processes that share a cache (usually a host's) one is at it at a time, so that
slow receivers take one control process and batches keep the others. That rule is only for
their sake: what keeps two processes from making the same attempt is the claim itself. So
a cache that fails stops no message.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING

from django.core.cache import cache

from jobs import processes
from jobs.models import WebhookDelivery
from jobs.tasks import CONTROL_QUEUE, waiting_pokes

from . import attempts
from .answer import Answer
from .attempts import Attempt

if TYPE_CHECKING:
    from .sending import Send

logger = logging.getLogger(__name__)

# Attempts under way: all of them, those of one team, those to one address.
MOST_AT_ONCE = 48
MOST_OF_A_TEAM = 12
MOST_TO_AN_ADDRESS = 4
TURN_SECONDS = 45
LOOK_SECONDS = 0.5
BUSY_KEY = "webhooks-busy"
BUSY_SECONDS = 15
WOKEN_KEY = "webhooks-woken"
WOKEN_SECONDS = 10


def _never() -> bool:
    return False


# Whether the process was asked to stop; the control worker sets it before it forks.
stop_requested: Callable[[], bool] = _never


def wanted() -> bool:
    """Whether something is due, nobody is at it, and nobody was just woken for it.

    Pokes that pile up while all control processes are busy would only be in the way.
    """
    return (
        WebhookDelivery.objects.due().exists()
        and not _somebody_is_at_it()
        and _nobody_was_woken()
    )


def run() -> str:
    """Send what is due until nothing is, for 45 s at most; says how many attempts.

    Claims nothing more when other control work waits, and finishes what it began.
    """
    taken = _somebody_is_at_it()
    if not taken:
        _hold()
    # Not before somebody holds the place: else others would be woken for it.
    _forget(WOKEN_KEY)
    if taken:
        return "somebody else is at it"
    # The HTTP client is a tenth of what a process imports, and most send nothing.
    from .sending import sender

    try:
        with sender() as send:
            turn = Turn(send)
            turn.claim_until(time.monotonic() + TURN_SECONDS)
            turn.drain()
    finally:
        # Not before the last answer: others would begin as many attempts again.
        _forget(BUSY_KEY)
    return f"{turn.made} attempts"


@contextlib.contextmanager
def _cache_may_fail() -> Iterator[None]:
    """Go on behind the block when the cache fails: nobody is known to be at it."""
    try:
        yield
    except Exception:
        logger.exception("the cache does not tell who sends webhooks")


def _somebody_is_at_it() -> bool:
    holder = ""
    with _cache_may_fail():
        holder = str(cache.get(BUSY_KEY, ""))
    return bool(holder) and not processes.provably_gone(holder)


def _nobody_was_woken() -> bool:
    woken = False
    with _cache_may_fail():
        woken = not cache.add(WOKEN_KEY, "", WOKEN_SECONDS)
    return not woken


def _hold() -> None:
    with _cache_may_fail():
        cache.set(BUSY_KEY, processes.token(), BUSY_SECONDS)


def _forget(key: str) -> None:
    with _cache_may_fail():
        cache.delete(key)


class Turn:
    """One process's stay at the outbox, and the attempts that it has under way."""

    def __init__(self, send: Send) -> None:
        self.made = 0
        self._send = send
        self._look_at = 0.0
        self._open: dict[Future[Answer], Attempt] = {}

    def claim_until(self, end: float) -> None:
        """Claim and send until `end` (time.monotonic()), or until all is quiet."""
        while time.monotonic() < end and not stop_requested():
            claimed = self._claim()
            if not claimed and not self._open:
                return
            self._finish()
            if self._is_time_to_look() and waiting_pokes(CONTROL_QUEUE):
                return

    def drain(self) -> None:
        """Wait for what is under way; each attempt ends within about 10 s."""
        while self._open:
            self._finish()
            self._is_time_to_look()

    def _is_time_to_look(self) -> bool:
        """True every half second; then it also says that somebody is still at it."""
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_SECONDS
        _hold()
        return True

    def _claim(self) -> int:
        """Fill the window with what is due, within the limits; how many."""
        teams = Counter(one.delivery.team_id for one in self._open.values())
        urls = Counter(one.delivery.url for one in self._open.values())
        claimed = 0
        for delivery in attempts.due(
            MOST_AT_ONCE,
            not_teams=[key for key, count in teams.items() if count >= MOST_OF_A_TEAM],
            not_urls=[
                key for key, count in urls.items() if count >= MOST_TO_AN_ADDRESS
            ],
        ):
            if len(self._open) >= MOST_AT_ONCE:
                break
            if (
                teams[delivery.team_id] >= MOST_OF_A_TEAM
                or urls[delivery.url] >= MOST_TO_AN_ADDRESS
            ):
                continue
            if attempt := attempts.claim(delivery):
                teams[delivery.team_id] += 1
                urls[delivery.url] += 1
                self._start(attempt)
            claimed += 1
        return claimed

    def _start(self, attempt: Attempt) -> None:
        self.made += 1
        future = self._send(attempt.delivery.url, attempt.headers, attempt.body)
        self._open[future] = attempt

    def _finish(self) -> None:
        """Store the outcomes there are; waits up to half a second for one."""
        if not self._open:
            return
        done, _ = wait(self._open, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            attempt = self._open.pop(future)
            try:
                attempts.finish(attempt, future.result())
            except Exception:
                # Its claim runs out, and it is made again.
                logger.exception("the outcome of %s is lost", attempt.delivery)
