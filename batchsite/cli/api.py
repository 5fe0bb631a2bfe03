# SPDX-License-Identifier: Apache-2.0
"""The one module that speaks HTTP to a site: calls, repeated where that is harmless."""

from __future__ import annotations

import json
import random
import re
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util.ssl_match_hostname import CertificateError

from .config import Access
from .problems import Away, Problem, Refused, Unreachable

TRIES = 5
# Of a site that never answered, whose address may be wrong.
FIRST_TRIES = 2
# A part of 16 MB may take long to be stored, a file of many parts longer.
TIMEOUT = urllib3.Timeout(connect=10, read=300)
AGAIN = (429, 502, 503, 504)
LONGEST_PAUSE = 60.0
PIECE_BYTES = 1 << 16
_segment = re.compile(r"[A-Za-z0-9_-]{1,200}")
_errno = re.compile(r"^\[Errno \d+\] ")
Query = Mapping[str, str | int]
Told = Callable[[int], None]


class Api:
    """A site's API with a key. `say` hears why a call is repeated."""

    def __init__(
        self, access: Access, *, say: Callable[[str], None], tries: int = TRIES
    ) -> None:
        self.url = access.url
        self.tries = tries
        self._say = say
        self._known = False
        self._headers = {
            "Authorization": f"Bearer {access.key}",
            "User-Agent": "batchsite-cli",
        }
        self._pool = _pool(access.url)

    def close(self) -> None:
        """End its connections."""
        # clear() alone leaves them to the garbage collector.
        for key in self._pool.pools.keys():  # noqa: SIM118 - no mapping, it cannot be iterated
            self._pool.pools[key].close()
        self._pool.clear()

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """The object at the path."""
        return _as_object(self._call("GET", path, query=query))

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str = "",
        repeat: bool = False,
    ) -> dict[str, Any]:
        """Send JSON. Where its answer is lost, it goes again with a key or `repeat`."""
        headers = {"Content-Type": "application/json"}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        return _as_object(
            self._call(
                "POST",
                path,
                body=json.dumps(body or {}).encode(),
                headers=headers,
                repeat=repeat or bool(idempotency_key),
            )
        )

    def delete(self, path: str) -> None:
        """Remove what is at the path."""
        self._call("DELETE", path)

    def post_form(
        self,
        path: str,
        fields: Mapping[str, str],
        *,
        file: tuple[str, str, bytes],
        told: Told,
        repeat: bool = False,
    ) -> dict[str, Any]:
        """Send a form with one file: its field, its name, its bytes.

        `told` hears how many of the bytes are on their way, from 0 at each try.
        """
        boundary = secrets.token_hex(16)
        head, data, tail = _multipart(boundary, fields, file)
        content_type = f"multipart/form-data; boundary={boundary}"

        def call() -> BaseHTTPResponse:
            body = _Body(head, data, tail, told)
            length = str(len(head) + len(data) + len(tail))
            return self._once(
                "POST",
                path,
                body=body,
                headers={"Content-Type": content_type, "Content-Length": length},
            )

        return _as_object(self._persist(call, repeat=repeat))

    @contextmanager
    def stream(
        self, path: str, **query: str | int
    ) -> Iterator[tuple[Mapping[str, str], Iterator[bytes]]]:
        """The headers and the pieces of an answer of any size."""
        response = self._call("GET", path, query=query, preload=False)
        try:
            yield response.headers, _pieces(response, self.url)
        finally:
            response.close()

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
        preload: bool = True,
    ) -> BaseHTTPResponse:
        def call() -> BaseHTTPResponse:
            return self._once(
                method,
                f"{path}?{urlencode(query)}" if query else path,
                body=body,
                headers=headers or {},
                preload=preload,
            )

        return self._persist(call, repeat=repeat)

    def _once(
        self,
        method: str,
        path: str,
        *,
        body: Any,
        headers: Mapping[str, str],
        preload: bool = True,
    ) -> BaseHTTPResponse:
        return self._pool.request(
            method,
            f"{self.url}/v1/{path}",
            body=body,
            headers={**self._headers, **headers},
            timeout=TIMEOUT,
            # What may be repeated is known here. A redirect would get the key.
            retries=False,
            redirect=False,
            preload_content=preload,
        )

    def _persist(
        self, call: Callable[[], BaseHTTPResponse], *, repeat: bool
    ) -> BaseHTTPResponse:
        """The answer that is no error; Unreachable or Refused after the last try."""
        for tried in range(1, self.tries + 1):
            last = tried == self.tries
            try:
                response = call()
                self._known = True
            except (HTTPError, OSError) as error:
                last = last or (tried >= FIRST_TRIES and not self._known)
                # Nothing was sent where there was no connection.
                if last or not (repeat or isinstance(error, NewConnectionError)):
                    raise _no_answer(self.url, error) from error
                self._wait(pause(tried), f"{self.url} does not answer")
                continue
            if response.status < 300:
                return response
            problem = _problem(response, self.url)
            wanted = response.headers.get("x-should-retry", "").lower() != "false"
            answered = response.status in AGAIN and wanted
            if last or not answered or not (repeat or response.status == 429):
                raise problem
            self._wait(pause(tried, response.headers), f"The site says: {problem}")
        raise AssertionError("the last try returns or raises")

    def _wait(self, seconds: float, why: str) -> None:
        self._say(f"{why.removesuffix('.')}. Trying again in {seconds:.0f} s.")
        time.sleep(seconds)


def pause(tried: int, headers: Mapping[str, str] | None = None) -> float:
    """Seconds until the next try: what the site asks for, else longer each time."""
    asked = (headers or {}).get("Retry-After", "")
    seconds = float(asked) if asked.isdecimal() else 2.0 ** (tried - 1)
    # Many clients that failed together shall not come back together.
    return min(seconds, LONGEST_PAUSE) * random.uniform(1, 1.25)  # noqa: S311 - no secret


def path_of(*names: str) -> str:
    """A path of the API; Problem for an id of people that would make it another path."""
    for name in names:
        if not _segment.fullmatch(name):
            raise Problem(f"{name} is no id: they look like batch_0a1b2c….")
    return "/".join(names)


def _pool(url: str) -> urllib3.PoolManager:
    """Connections, by the proxy that HTTP_PROXY and its like name."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme, "")
    if not proxy or proxy_bypass(parts.netloc):
        return urllib3.PoolManager()
    named = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    headers = None
    if named.username:
        password = unquote(named.password or "")
        headers = urllib3.make_headers(
            proxy_basic_auth=f"{unquote(named.username)}:{password}"
        )
    host = f"{named.scheme}://{named.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(host, proxy_headers=headers)


class _Body:
    """A body that tells how much of its file was read; http.client calls read()."""

    def __init__(self, head: bytes, data: bytes, tail: bytes, told: Told) -> None:
        self._left = [memoryview(part) for part in (head, data, tail)]
        self._before = len(head)
        self._size = len(data)
        self._told = told
        self._at = 0
        told(0)

    def read(self, size: int = -1) -> bytes:
        """At most PIECE_BYTES, however much is asked for."""
        while self._left and not self._left[0]:
            self._left.pop(0)
        if not self._left or not size:
            return b""
        piece = bytes(self._left[0][:PIECE_BYTES])
        self._left[0] = self._left[0][PIECE_BYTES:]
        self._at += len(piece)
        self._told(min(max(self._at - self._before, 0), self._size))
        return piece


def _multipart(
    boundary: str, fields: Mapping[str, str], file: tuple[str, str, bytes]
) -> tuple[bytes, bytes, bytes]:
    """What comes before the file's bytes, these, and what comes behind them."""
    mark = f"--{boundary}\r\n"
    head = "".join(
        f'{mark}Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    field, filename, data = file
    # As browsers do; other characters stay as they are, in UTF-8.
    for char, escaped in (('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):
        filename = filename.replace(char, escaped)
    head += (
        f'{mark}Content-Disposition: form-data; name="{field}"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode(errors="replace"), data, f"\r\n--{boundary}--\r\n".encode()


def _pieces(response: BaseHTTPResponse, url: str) -> Iterator[bytes]:
    try:
        yield from response.stream(PIECE_BYTES)
    except (HTTPError, OSError) as error:
        raise _no_answer(url, error) from error


def _as_object(response: BaseHTTPResponse) -> dict[str, Any]:
    try:
        found = json.loads(response.data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unreachable(
            "The answer is not Batchsite's. Is the address right, and does it need"
            " no other sign-in before?"
        )
    return found


def _no_answer(url: str, error: BaseException) -> Away:
    """What is wrong, in the words of the innermost error: the others are wrappings."""
    while error.args and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    words = str(error).rpartition(": ")[2] or type(error).__name__
    words = _errno.sub("", words).removesuffix(".")
    if isinstance(error, ssl.SSLError | CertificateError):
        words += ". If its authority is your own, name it in SSL_CERT_FILE"
    return Away(f"{url} cannot be reached: {words}.")


def _problem(response: BaseHTTPResponse, url: str) -> Unreachable | Refused:
    """The site's words for its refusal, or ours for an answer that is not the site's."""
    if 300 <= response.status < 400:
        target = response.headers.get("Location", "another address")
        return Unreachable(
            f"{url} sends its callers to {target}. If you trust that address, sign in"
            " there: batchsite login URL"
        )
    message, code = "", None
    try:
        told = json.loads(response.data)["error"]
        message, code = str(told["message"]), told.get("code")
    except (ValueError, LookupError, TypeError, AttributeError):
        kind = Away if response.status in AGAIN else Unreachable
        return kind(
            f"{url} answered with status {response.status}, and not as Batchsite does."
        )
    if response.status == 401:
        return Unreachable(
            "The site does not accept this API key: it is wrong, revoked or expired."
            " Sign in with another one: batchsite login"
        )
    return Refused(message, response.status, code)
