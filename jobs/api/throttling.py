# SPDX-License-Identifier: Apache-2.0
"""Calls a minute of each API key, and of each place with wrong keys.

One number per key and minute of the clock, in a shared cache: strangers' failures are
in another one, where they cannot push a key's number out. DRF's own throttles
keep a list of all calls of the minute there and write it anew with each call. A web
process takes a hundredth of a key's calls at a time, so that most calls cost nothing;
so many may stay unused in each process when the minute ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import time as clock

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.http import HttpRequest, HttpResponseBase

from batchsite.accounts.addresses import place
from batchsite.accounts.models import ApiKey
from jobs.limits import LimitReached

logger = logging.getLogger(__name__)
MINUTE = 60
SHARE = 100


@dataclass(slots=True)
class Held:
    """Calls that this process took of a minute: the last one's number, and how many
    are left of them.
    """

    minute: int = 0
    last: int = 0
    left: int = 0


_held: dict[str, Held] = {}
_held_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Rate:
    """How a key stands in this minute; `reset` is the number of seconds left of it."""

    limit: int
    used: int
    reset: int

    def headers(self) -> dict[str, str]:
        """OpenAI's x-ratelimit headers."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(max(self.limit - self.used, 0)),
            "x-ratelimit-reset-requests": f"{self.reset}s",
        }


class RateHeadersMiddleware:
    """Puts the x-ratelimit headers on every answer to a call whose key is known.

    It is outside of OpenAIErrorMiddleware, which puts other answers in the place of
    Django's, so that no answer goes without.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        rate: Rate | None = getattr(request, "call_rate", None)
        if rate is not None:
            for name, value in rate.headers().items():
                response[name] = value
        return response


def count_call(request: HttpRequest, key: ApiKey) -> None:
    """Count a call of the key; LimitReached when the minute has no more.

    A call counts as soon as its key is known, whatever becomes of it.
    """
    own = key.team.requests_per_minute
    limit = own if own is not None else settings.BATCHSITE_REQUESTS_PER_MINUTE or None
    if limit is None:
        return
    portion = max(limit // SHARE, 1)
    rate = _counted("calls", f"calls:{key.pk}", limit, at_once=portion)
    if rate is None:
        return
    request.call_rate = rate  # type: ignore[attr-defined]  # read by the middleware
    if rate.used > limit:
        raise LimitReached(
            f"Rate limit reached for API key {key.token_key}… on requests per minute:"
            f" Limit {limit:,}, Used {limit:,}, free 0. Please try again in"
            f" {rate.reset}s.",
            retry_after=rate.reset,
        )


def count_failure(address: str | None) -> None:
    """Count a call with a wrong key; LimitReached when the place made too many."""
    limit = settings.BATCHSITE_FAILED_KEYS_PER_MINUTE
    if not limit or address is None:
        return
    rate = _counted("failures", f"failed:{place(address)}", limit)
    if rate is not None and rate.used > limit:
        raise LimitReached(
            "Too many calls with incorrect API keys from this address. Please try again"
            f" in {rate.reset}s.",
            retry_after=rate.reset,
        )


def _counted(alias: str, name: str, limit: int, *, at_once: int = 1) -> Rate | None:
    """One more of this minute; None when the cache fails, for then calls go on."""
    now = clock()
    minute = int(now // MINUTE)
    try:
        used = _number(caches[alias], name, minute, at_once)
    except Exception:
        logger.exception("calls_not_counted")
        return None
    return Rate(limit, used, max(math.ceil((minute + 1) * MINUTE - now), 1))


def _number(cache: BaseCache, name: str, minute: int, at_once: int) -> int:
    """Which call of the minute this is, over all processes."""
    if at_once == 1:
        return add(cache, name, minute, 1)
    with _held_lock:
        held = _held.setdefault(name, Held())
        if held.minute != minute or not held.left:
            held.last = add(cache, name, minute, at_once)
            held.minute, held.left = minute, at_once
        held.left -= 1
        return held.last - held.left


def add(cache: BaseCache, name: str, minute: int, more: int) -> int:
    """The counter's new value; the first of a minute drops the last minute's."""
    key = f"{name}:{minute}"
    with _alone(cache):
        with contextlib.suppress(ValueError):
            return cache.incr(key, more)
        if cache.add(key, more, timeout=2 * MINUTE):
            cache.delete(f"{name}:{minute - 1}")
            return more
        return cache.incr(key, more)


@contextlib.contextmanager
def _alone(cache: BaseCache) -> Iterator[None]:
    """No other process or thread of this host counts meanwhile.

    Only where the cache cannot add by itself: files and tables read, then write.
    """
    if type(cache).incr is not BaseCache.incr:
        yield
        return
    settings.RUN_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.RUN_DIR / "calls.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
