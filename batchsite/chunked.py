# SPDX-License-Identifier: Apache-2.0
"""Request bodies without Content-Length, as Node's clients send streams.

Django reads as many bytes as CONTENT_LENGTH says, and takes a chunked body for an
empty one. A server that decodes chunks and ends the body itself says so with
`wsgi.input_terminated`; then the length may be anything that is large enough. Such a
server also notices a body that was cut off, so that its end is a true end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from django.conf import settings

from jobs.uploads import CHUNKED

# Seconds in which a client must send, or take, at least a byte: a thread waits for it.
# How long a whole body may take is batchsite.webworker's business.
SILENCE_SECONDS = 60
# Of a multipart body; jobs.uploads counts what it reads of it.
ENDLESS = 1 << 62

Meta = dict[str, Any]
Application = Callable[[Meta, Any], Iterable[bytes]]


class Stream(Protocol):
    """A WSGI server's wsgi.input."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


class ChunkedBody:
    """The decoded body. What a server raises in the middle becomes an OSError.

    Django answers an OSError with 400 and anything else, such as gunicorn's error
    about a bad chunk, with 500. `limit` bytes are too many.
    """

    def __init__(self, stream: Stream, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the true end."""
        return self._taken(self._stream.read, size)

    def readline(self, size: int) -> bytes:
        """A line, or `size` bytes of it."""
        return self._taken(self._stream.readline, size)

    def _taken(self, take: Callable[[int], bytes], size: int) -> bytes:
        try:
            data = take(size)
        except OSError:
            raise
        except Exception as error:
            raise OSError(
                f"its chunks are malformed ({type(error).__name__})"
            ) from error
        self._left -= len(data)
        if self._left <= 0:
            raise OSError("it is too large")
        return data


def with_chunked_bodies(
    application: Application, *, silence: float = SILENCE_SECONDS
) -> Application:
    """The application, given chunked bodies by servers that can.

    `silence` is in seconds: how long the server's thread waits for a client that sends
    nothing, or takes nothing of the answer.
    """

    def call(meta: Meta, start_response: Any) -> Iterable[bytes]:
        if connection := meta.get("gunicorn.socket"):
            # gunicorn itself waits without end. Its next request resets the time.
            connection.settimeout(silence)
        coding = meta.get("HTTP_TRANSFER_ENCODING", "").strip().lower()
        if coding == "chunked" and meta.get("wsgi.input_terminated"):
            kind = meta.get("CONTENT_TYPE", "").lower()
            # Whatever is no upload is read into memory.
            memory = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or ENDLESS
            limit = ENDLESS if kind.startswith("multipart/") else memory
            meta["wsgi.input"] = ChunkedBody(meta["wsgi.input"], limit)
            meta["CONTENT_LENGTH"] = str(limit)
            meta[CHUNKED] = True
        return application(meta, start_response)

    return call
