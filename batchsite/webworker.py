# SPDX-License-Identifier: Apache-2.0
"""gunicorn's gthread worker, with our error envelope for what never reaches Django.

gunicorn itself refuses a request that is no HTTP, or whose line or headers are too long,
and its own answer to that is a page of HTML: `--worker-class batchsite.webworker.Worker`.
"""

from __future__ import annotations

import json
import socket
import uuid
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

# Any other error in a request is 400.
STATUSES: dict[type[Exception], int] = {
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.ForbiddenProxyRequest: 403,
}
# These two are about the application's answer, not about the request.
OURS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn is untyped
    """As gthread, but for its error pages."""

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
