# SPDX-License-Identifier: Apache-2.0
"""A small real HTTP server that gets webhooks and answers as its paths say.

`receiver` is a pytest fixture. The paths: /ok, /status/CODE, /flaky (500, then 200),
/later (503 with Retry-After: 7), /slow (0.15 s), /redirect, /hang, /reset, /garbage,
/big, /drip, /nul, /deaf (headers that never end, one byte a time).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

BIG = 10_000_000


@dataclass(frozen=True)
class Received:
    """One message as it came over the network."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """The server and what it got; `end` lets hanging answers go."""

    def __init__(self) -> None:
        self.got: list[Received] = []
        self.sent_bytes = 0
        self.end = threading.Event()
        self.lock = threading.Lock()
        receiver = self

        class Handler(_Handler):
            owner = receiver

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def url(self, path: str = "/ok", *, scheme: str = "http") -> str:
        """The address of one of the paths."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def ids(self) -> list[str]:
        """The webhook-id of each message, in order of arrival."""
        with self.lock:
            return [one.headers["webhook-id"] for one in self.got]

    def speak_tls(self, certificate: str, key: str) -> None:
        """From here on answer over TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )

    def close(self) -> None:
        """Stop, hanging answers included."""
        self.end.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Connections that come at once; those beyond would be tried again 1 s later.
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    owner: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.owner.lock:
            seen = any(one.path == self.path for one in self.owner.got)
            self.owner.got.append(Received(self.path, headers, body))
        self.close_connection = True
        # Whoever waits no longer hangs up in the middle.
        with contextlib.suppress(OSError):
            self.behave(self.path.split("?")[0], seen)

    def behave(self, path: str, seen: bool) -> None:
        """Answer as the path says."""
        if path.startswith("/status/"):
            self.answer(int(path.removeprefix("/status/")))
        elif path == "/flaky":
            self.answer(200 if seen else 500)
        elif path == "/later":
            self.answer(503, extra=[("Retry-After", "7")])
        elif path == "/redirect":
            self.answer(302, extra=[("Location", self.owner.url("/landed"))])
        elif path == "/hang":
            self.owner.end.wait(120)
        elif path == "/slow":
            self.owner.end.wait(0.15)
            self.answer(200)
        elif path == "/reset":
            # An immediate RST instead of an orderly end.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        elif path == "/garbage":
            self.wfile.write(b"\x00\xff\x16\x03 not HTTP at all\r\n\r\n")
        elif path == "/big":
            self.big()
        elif path == "/drip":
            self.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab")
        elif path == "/deaf":
            self.drip(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        elif path == "/nul":
            self.answer(200, b"a\x00b\xffc")
        else:
            self.answer(200, b"thank you")

    def answer(
        self,
        status: int,
        body: bytes = b"thank you",
        extra: list[tuple[str, str]] | None = None,
    ) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in extra or []:
            self.send_header(name, value)
        body = b"" if status in (204, 304) else body
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def big(self) -> None:
        """10 MB, as far as they are taken."""
        self.send_response(200)
        self.send_header("Content-Length", str(BIG))
        self.end_headers()
        for _ in range(BIG // 10_000):
            self.wfile.write(b"x" * 10_000)
            self.owner.sent_bytes += 10_000

    def drip(self, first: bytes) -> None:
        """Some bytes, and then one now and again."""
        self.wfile.write(first)
        while not self.owner.end.wait(0.2):
            self.wfile.write(b"c")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Silence."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    try:
        yield running
    finally:
        running.close()
