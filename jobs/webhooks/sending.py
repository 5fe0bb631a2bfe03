# SPDX-License-Identifier: Apache-2.0
"""The only module that speaks HTTP to a webhook's receiver, who is not trusted."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from .addresses import AddressError, Target, parse, why_closed
from .answer import Answer

logger = logging.getLogger(__name__)

TOTAL_SECONDS = 10
# What is read of an answer, so that its sender need not see a reset; and what is kept.
READ_BYTES = 64 * 1024
KEPT_BYTES = 2000
KEPT_ERROR = 500


class ClosedAddressError(OSError):
    """The host name leads to an address that webhooks are not sent to."""


Send = Callable[[str, Mapping[str, str], bytes], "Future[Answer]"]


@contextlib.contextmanager
def sender() -> Iterator[Send]:
    """Gives `send(url, headers, body)`, which returns at once; any number may be under way.

    Its future always gets an Answer, within about 10 s. What is not done when the block
    ends is cut off.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="webhooks", daemon=True)
    thread.start()

    def send(url: str, headers: Mapping[str, str], body: bytes) -> Future[Answer]:
        return asyncio.run_coroutine_threadsafe(post(url, headers, body), loop)

    try:
        yield send
    finally:
        asyncio.run_coroutine_threadsafe(_cut_off(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cut_off() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def post(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send one message; every failure is an Answer with an `error`."""
    started = time.monotonic()
    try:
        answer = await _post(parse(url), headers, body)
    except TimeoutError:
        answer = Answer(error=f"No answer within {TOTAL_SECONDS} s.")
    except (AddressError, aiohttp.ClientError, OSError) as error:
        answer = Answer(error=_in_words(error))
    except Exception as error:
        # A receiver must not find a way to get its messages tried for ever.
        logger.exception("sending a webhook failed in an unknown way")
        answer = Answer(error=_in_words(error))
    return replace(answer, duration_ms=round((time.monotonic() - started) * 1000))


async def _post(target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
    connector = aiohttp.TCPConnector(
        resolver=Resolver(),
        use_dns_cache=False,
        socket_factory=_socket_factory(target),
        force_close=True,
    )
    async with (
        # No proxy of the environment, no cookies, nothing kept between messages.
        aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS),
        ) as session,
        session.post(
            target.url,
            data=body,
            headers={**headers, "Accept-Encoding": "identity"},
            allow_redirects=False,
        ) as r,
    ):
        return Answer(r.status, _kept(await _read(r)), retry_after=_retry_after(r))


async def _read(r: aiohttp.ClientResponse) -> bytes:
    """The answer's beginning. Its status is what counts: a body may break off."""
    read = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async for part in r.content.iter_any():
            read += part
            if len(read) >= READ_BYTES:
                break
    # Drop the connection instead of waiting for the rest.
    r.close()
    return bytes(read)


def _socket_factory(target: Target) -> Callable[[Any], socket.socket]:
    """Makes the sockets of a connection, for allowed addresses alone.

    This is the last step before connect() and has the very address that it gets, so a
    name that was moved since the check leads nowhere.
    """

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, sockaddr = info
        if not target.listed:
            address = ipaddress.ip_address(sockaddr[0])
            if why := why_closed(address):
                raise ClosedAddressError(
                    f"{target.host} leads to {address}, {why}; nothing was sent."
                )
        return socket.socket(family, kind, protocol)

    return make


class Resolver(AbstractResolver):
    """The system's name service, each name in a thread of its own.

    The loop's own threads are few: names that hang would make all others wait.
    """

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,
    ) -> list[ResolveResult]:
        """All addresses of the host; OSError when there are none."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def settle(result: list[ResolveResult] | OSError) -> None:
            if found.done():
                return
            if isinstance(result, OSError):
                found.set_exception(result)
            else:
                found.set_result(result)

        def ask() -> None:
            result = _addresses(host, port, family)
            # The loop may have ended while the name service did not answer.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, result)

        threading.Thread(target=ask, name="webhook-lookup", daemon=True).start()
        return await found

    async def close(self) -> None:
        """Nothing is kept open."""


def _addresses(
    host: str, port: int, family: socket.AddressFamily
) -> list[ResolveResult] | OSError:
    try:
        infos = socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    except OSError as error:
        return error
    except UnicodeError as error:
        return OSError(f"{host}: {error}")
    return [
        {
            "hostname": host,
            "host": str(sockaddr[0]),
            "port": port,
            "family": found,
            "proto": protocol,
            "flags": socket.AI_NUMERICHOST,
        }
        for found, _, protocol, _, sockaddr in infos
    ]


def _in_words(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ClosedAddressError | AddressError):
        return _clean(str(cause))
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _clean(f"{error.host} was not found: {cause}")
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else error
    return _clean(f"{type(error).__name__}: {said}".rstrip(": "))


def _clean(text: str) -> str:
    """Text that each database stores, and no longer than one wants to read."""
    kept = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return " ".join(kept.split())[:KEPT_ERROR]


def _kept(body: bytes) -> str:
    return body[:KEPT_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")


def _retry_after(r: aiohttp.ClientResponse) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date; None for anything else."""
    told = r.headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdecimal():
        return float(told[:9])
    try:
        date = parsedate_to_datetime(told)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - time.time())
