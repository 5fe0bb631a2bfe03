# SPDX-License-Identifier: Apache-2.0
"""Large, slow and killed uploads against real gunicorn."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.inputs import chat_lines
from tests.site import Site, wait_for
from tests.web_server import WebServer, chunked, multipart, read_answer, serve

pytestmark = pytest.mark.slow

MULTIPART = "Content-Type: multipart/form-data; boundary=b"
CHUNKED = "Transfer-Encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"


def upload_of(web: WebServer, megabytes: int, *, name: str) -> Iterator[bytes]:
    """A chunked upload of so many times 1,000,000 bytes, never in memory as a whole."""
    line = b'{"a": "' + b"x" * 990 + b'"}\n'
    piece = line * 1000
    head, _, end = multipart(b"", name=name)
    yield web.head("/v1/files", MULTIPART, CHUNKED)
    yield from chunked([head])
    for _ in range(megabytes):
        yield from chunked([piece])
    yield from chunked([end])
    yield LAST_CHUNK


def test_memory_does_not_grow_with_the_upload(site: Site) -> None:
    web = serve(site, BATCHSITE_MAX_FILE_BYTES="300000000")
    assert web.send(upload_of(web, 1, name="small.jsonl")).status == 200
    before = web.peak_kib()
    r = web.send(upload_of(web, 200, name="large.jsonl"))
    assert r.status == 200, r.body
    assert r.json()["bytes"] == 200_000_000
    grown = web.peak_kib() - before
    assert grown < 16 * 1024


def test_a_client_that_falls_silent_is_given_up(site: Site) -> None:
    web = serve(site, app="tests.transport.impatient")
    for headers in (CHUNKED, "Content-Length: 1000000"):
        with web.connect() as connection:
            head, body, _ = multipart(chat_lines(100), name="silent.jsonl")
            connection.sendall(web.head("/v1/files", MULTIPART, headers))
            pieces = [head, body]
            if headers == CHUNKED:
                pieces = list(chunked(pieces))
            connection.sendall(b"".join(pieces))
            r = read_answer(connection)
        assert r.status == 400
        assert r.message.startswith("The request could not be read")
    assert web.files() == []
    wait_for(lambda: web.bytes_kept() == [], what="an empty spool")


def test_a_killed_server_leaves_no_file_and_its_spool_is_swept(site: Site) -> None:
    web = serve(site)
    pieces = iter(upload_of(web, 5, name="killed.jsonl"))
    with web.connect() as connection:
        for _ in range(4):
            connection.sendall(next(pieces))
        wait_for(web.bytes_kept, what="a spool")
        for pid in (web.process.pid, *site.left_over()):
            os.kill(pid, 9)
        web.process.wait()
    assert web.files() == []
    (left,) = web.bytes_kept()
    assert left.parent == site.folder / "spool" / "uploads"
    sweep = "from jobs.attendance import sweep_spool; print(sweep_spool())"
    assert site.python(sweep).split() == ["0"]
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(left, (two_days_ago, two_days_ago))
    assert site.python(sweep).split() == ["1"]
    assert web.bytes_kept() == []
    # The site goes on: the same client sends the same file again.
    again = serve(site, key=web.key)
    assert again.send(upload_of(again, 5, name="killed.jsonl")).status == 200
    assert again.files() == ["killed.jsonl"]
