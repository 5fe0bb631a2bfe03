# SPDX-License-Identifier: Apache-2.0
"""How often and how soon a request is tried again: pure functions."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

TRIES = 5
# A full engine is nobody's fault: these are asked for longer.
BUSY_STATUSES = frozenset({429, 503})
BUSY_TRIES = 12
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
# An engine that asks for more is asked again all the same.
LONGEST_RETRY_AFTER = 60.0


def most_tries(status: int | None) -> int:
    """How often a request is tried whose last answer was this; None: there was none."""
    return BUSY_TRIES if status in BUSY_STATUSES else TRIES


def pause_before_next(
    attempt: int,
    *,
    jitter: float,
    retry_after: str = "",
    now: float = 0.0,
    longest: float = LONGEST_WAIT,
) -> float:
    """Seconds from a failed attempt, counted from 1, to the next one.

    1, 2, 4 … up to `longest`, from half to one and a half times of it as `jitter` goes
    from 0 to 1. Never less than the engine's Retry-After (seconds or a date, which is
    compared with `now`), as far as that is within a minute.
    """
    # The exponent is bounded before the power is.
    wait = min(longest, FIRST_WAIT * 2.0 ** min(attempt - 1, 32))
    return max(wait * (0.5 + jitter), asked_pause(retry_after, now))


def asked_pause(retry_after: str, now: float) -> float:
    """What a Retry-After header asks for, from 0 to 60 seconds; 0 when it says nothing."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - now
        except ValueError:
            return 0.0
    # The order of the arguments makes nothing of NaN.
    return max(0.0, min(seconds, LONGEST_RETRY_AFTER)) if seconds == seconds else 0.0
