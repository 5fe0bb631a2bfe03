# SPDX-License-Identifier: Apache-2.0
"""Clients that take all the time of real gunicorn's threads, of which there are four."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.site import Site
from tests.web_server import WebServer, multipart, read_answer, serve

pytestmark = pytest.mark.slow

JSON = "Content-Type: application/json"
LOGIN = b"GET /login/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture
def web(site: Site) -> WebServer:
    """A server that waits 1 s for headers, and 2 s for a body."""
    return serve(site, app="tests.transport.hurried")


@contextlib.contextmanager
def many(web: WebServer, start: bytes) -> Iterator[list[socket.socket]]:
    """Six connections that have sent that much and stay open."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(web.connect()) for _ in range(6)]
        for connection in connections:
            connection.sendall(start)
        yield connections


def test_half_a_header_does_not_keep_a_thread(web: WebServer) -> None:
    with many(web, b"POST /v1/batches HTTP/1.1\r\nHost: loc") as connections:
        assert web.send([LOGIN]).status == 200
        r = read_answer(connections[0])
    assert (r.status, r.message) == (408, "The request was refused: Request Timeout.")


def test_a_body_that_trickles_does_not_keep_a_thread(web: WebServer) -> None:
    head = web.head("/v1/batches", JSON, "Content-Length: 100000")
    over = threading.Event()

    def trickle(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not over.wait(0.2):
                connection.sendall(b" ")

    with many(web, head) as connections:
        threads = [threading.Thread(target=trickle, args=[one]) for one in connections]
        for thread in threads:
            thread.start()
        try:
            assert web.send([LOGIN]).status == 200
            r = read_answer(connections[0])
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert r.status == 400
    assert r.message.startswith("The request could not be read")


def test_an_upload_may_take_longer_than_other_bodies(web: WebServer) -> None:
    head, body, end = multipart(b"x" * 90_000, name="slow.txt")
    request = web.head(
        "/v1/files",
        "Content-Type: multipart/form-data; boundary=b",
        f"Content-Length: {len(head + body + end)}",
    )
    with web.connect() as connection:
        # 30 kB/s for 3 s, where other bodies have 2 s in all.
        connection.sendall(request + head.replace(b"batch", b"evals"))
        for start in range(0, len(body), 10_000):
            threading.Event().wait(1 / 3)
            connection.sendall(body[start : start + 10_000])
        connection.sendall(end)
        r = read_answer(connection)
    assert r.status == 200, r.body


def test_clients_that_keep_their_end_open_hold_nobody_up(web: WebServer) -> None:
    with many(web, LOGIN) as connections:
        for connection in connections:
            assert read_answer(connection).status == 200


def test_a_large_form_of_a_stranger_is_not_parsed(web: WebServer) -> None:
    kind = "Content-Type: application/x-www-form-urlencoded"
    assert web.send([web.head("/login/", kind, "Content-Length: 3"), b"a=b"]).status
    before = web.peak_kib()
    length = "Content-Length: 20000000"
    r = web.send([web.head("/login/", kind, length), b"a=" + b"%41" * 6_666_666])
    assert r.status in (0, 400, 403)
    assert web.peak_kib() - before < 16 * 1024
