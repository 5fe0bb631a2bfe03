# SPDX-License-Identifier: Apache-2.0
"""gunicorn's gthread worker, with our error envelope for what never reaches Django.

gunicorn itself refuses a request that is no HTTP, or whose line or headers are too long,
and its own answer to that is a page of HTML: `--worker-class batchsite.webworker.Worker`.
It also waits without end for clients, and each one that it waits for has a thread: here
they have a time for each request.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import time
import uuid
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors, get_parser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.util import close, close_graceful, write_nonblock
from gunicorn.workers.gthread import ThreadWorker

# How long a thread waits for a request's line and headers, and for its body, in all.
HEADER_SECONDS = 10.0
BODY_SECONDS = 60.0
# Uploads have longer, as long as they come this fast (beside the silence that
# batchsite.chunked allows): 200 MB at 80 kbit/s are five and a half hours.
UPLOAD_BYTES_A_SECOND = 10_000


class TooSlow(errors.ParseException):  # type: ignore[misc]  # gunicorn is untyped
    """The headers took too long."""

    def __str__(self) -> str:
        return "its headers took too long"


# What a client may still send while it is told no, for else the answer is lost.
LAST_WORDS = 1_000_000


# Any other error in a request is 400.
STATUSES: dict[type[Exception], int] = {
    TooSlow: 408,
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.ForbiddenProxyRequest: 403,
}
# These two are about the application's answer, not about the request.
OURS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn is untyped
    """As gthread, but for its error pages and its patience."""

    def handle(self, conn: Any) -> Any:
        """Serve the next request of a connection, whose headers must come soon."""
        if conn.parser is None and not self.cfg.is_ssl:
            conn.parser = get_parser(self.cfg, conn.sock, conn.client)
            conn.parser.unreader = TimedUnreader(conn.sock)
        # With TLS, gunicorn makes the parser later; then a proxy must do this.
        if isinstance(
            unreader := getattr(conn.parser, "unreader", None), TimedUnreader
        ):
            unreader.expect_headers()
        kept = super().handle(conn)
        if kept is False:
            take_leave(conn)
        return kept

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request; its body is read by the application."""
        if isinstance(unreader := conn.parser.unreader, TimedUnreader):
            unreader.expect_body(upload=is_upload(req.headers))
        return super().handle_request(req, conn)

    def handle_error(
        self, req: Any, client: socket.socket, addr: Any, exc: Exception
    ) -> None:
        """Answer a request that failed outside of the application; the caller closes."""
        request_id = f"req_{uuid.uuid4().hex}"
        if isinstance(exc, errors.ParseException) and not isinstance(exc, OURS):
            status = STATUSES.get(type(exc), 400)
            self.log.warning("%s refused: %s", request_id, exc)
        else:
            status = 500
            self.log.error("%s failed", request_id, exc_info=exc)
        try:
            write_nonblock(client, answer(status, request_id))
        except OSError:
            self.log.debug("%s: the client is gone", request_id)


class TimedUnreader(SocketUnreader):  # type: ignore[misc]  # gunicorn is untyped
    """Reads from a client, and stops waiting for it when its time is over.

    Only waiting counts, not what the application does between two reads. The socket's
    own timeout, where it is shorter, holds as well.
    """

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.expect_headers()

    def expect_headers(self) -> None:
        """From now on a request's line and headers are read."""
        self._start(HEADER_SECONDS, rate=math.inf, late=TooSlow)

    def expect_body(self, *, upload: bool) -> None:
        """From now on a body is read."""
        rate = UPLOAD_BYTES_A_SECOND if upload else math.inf
        self._start(BODY_SECONDS, rate=rate, late=TimeoutError)

    def _start(self, seconds: float, *, rate: float, late: type[Exception]) -> None:
        self._left, self._rate, self._late = seconds, rate, late

    def chunk(self, size_hint: int | None = None) -> bytes:
        """What has come, at least a byte; b"" at the end.

        TooSlow in headers, TimeoutError in a body.
        """
        if self._left <= 0:
            raise self._late
        before = self.sock.gettimeout()
        started = time.monotonic()
        self.sock.settimeout(self._left if before is None else min(before, self._left))
        try:
            data: bytes = super().chunk(size_hint)
        except TimeoutError as error:
            raise self._late from error
        finally:
            self.sock.settimeout(before)
            self._left -= time.monotonic() - started
        self._left += len(data) / self._rate
        return data


def take_leave(conn: Any) -> None:
    """Wait up to 2 s for the client's end of a connection, in this request's thread.

    gunicorn would do so in its only thread that accepts connections; now it just closes.
    """
    with contextlib.suppress(OSError):
        # A copy, because the connection itself must still be open there.
        close_graceful(conn.sock.dup(), max_drain=LAST_WORDS)
    conn.close = lambda graceful=False: close(conn.sock)


def is_upload(headers: list[tuple[str, str]]) -> bool:
    """Whether a request has files in its body; gunicorn's names are upper case."""
    return any(
        name == "CONTENT-TYPE" and value.strip().lower().startswith("multipart/")
        for name, value in headers
    )


def answer(status: int, request_id: str) -> bytes:
    """A whole HTTP answer with the error envelope; the connection ends with it."""
    # The worker imports this before Django is set up, and calls it after.
    from jobs.api.errors import SERVER_ERROR, envelope

    phrase = HTTPStatus(status).phrase
    message = SERVER_ERROR if status >= 500 else f"The request was refused: {phrase}."
    body = json.dumps(envelope(message, status=status)).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"x-request-id: {request_id}\r\n\r\n"
    )
    return head.encode() + body
