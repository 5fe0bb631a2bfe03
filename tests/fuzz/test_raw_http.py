# SPDX-License-Identifier: Apache-2.0
"""Bytes on the wire that are HTTP, or nearly: JSON answers, no 5xx, and the server lives."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import strategies as st

from tests.web_server import Answer, WebServer, read_answer

from .amounts import fuzzed, generated

# One connection is refused by the server, and the next one is served.
BOMBS = {
    "long header": b"X-A: " + b"a" * 200_000 + b"\r\n",
    "many headers": b"".join(b"X-%d: a\r\n" % n for n in range(2000)),
    "bad name": b"X A: b\r\n",
    "nul": b"X-A: \0\r\n",
    "bad length": b"Content-Length: x\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "both lengths": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "coding": b"Transfer-Encoding: gzip\r\n",
    "unknown coding": b"Transfer-Encoding: x\r\n",
    "expectation": b"Expect: tea\r\n",
    "folded": b"X-A: b\r\n c\r\n",
}
HEADER = st.one_of(
    st.sampled_from(
        [*BOMBS.values(), b"Accept: */*\r\n", b"Content-Encoding: gzip\r\n"]
    ),
    st.tuples(st.binary(max_size=12), st.binary(max_size=12)).map(b": ".join),
).map(lambda line: line if line.endswith(b"\r\n") else line + b"\r\n")
LINE = st.builds(
    lambda method, path, version: b" ".join([method, path, version]),
    st.sampled_from([b"GET", b"POST", b"GET", b"POST", b"HEAD", b"get", b"", b"\xff"]),
    st.sampled_from([b"/v1/files", b"/v1/batches", b"/v1/files", b"/v1/", b"*", b"v1"])
    | st.binary(max_size=10).map(lambda raw: b"/v1/" + raw)
    | st.just(b"/v1/files?after=" + b"a" * 20_000),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/9.9", b""]),
)
BODY = st.sampled_from(
    [b"", b"{}", b"{", gzip.compress(b"{}"), gzip.compress(bytes(9**6))]
)


def ask(web: WebServer, line: bytes, headers: bytes, body: bytes = b"") -> Answer:
    """Send the request on a connection of its own; status 0: no answer."""
    lasting = [
        b"Host: localhost",
        b"Connection: close",
        b"Content-Type: application/json",
        f"Authorization: Bearer {web.key}".encode(),
        b"Content-Length: %d" % len(body) if body else b"X-None: 1",
    ]
    head = line + b"\r\n" + b"\r\n".join(lasting) + b"\r\n" + headers + b"\r\n"
    return web.send([head, body], close=True)


def check(answer: Answer) -> None:
    """JSON in every case; a request that is none may go without an answer."""
    assert answer.status < 500
    assert b"<html" not in answer.body.lower()
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.fuzzing
@pytest.mark.parametrize("bomb", BOMBS)
def test_what_gunicorn_refuses_is_told_in_the_envelope(
    web: WebServer, bomb: str
) -> None:
    generated["bombs"] += 1

    answer = ask(web, b"GET /v1/files HTTP/1.1", BOMBS[bomb])

    check(answer)
    assert 400 <= answer.status < 500
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert ask(web, b"GET /v1/files HTTP/1.1", b"").status == 200


@fuzzed(300, line=LINE, headers=st.lists(HEADER, max_size=3), body=BODY)
def test_no_bytes_break_the_server(
    web: WebServer, line: bytes, headers: list[bytes], body: bytes
) -> None:
    generated["raw requests"] += 1

    check(ask(web, line, b"".join(headers), body))


@fuzzed(100, noise=st.binary(min_size=1, max_size=200), ended=st.booleans())
def test_noise_ends_with_an_error_or_a_closed_connection(
    web: WebServer, noise: bytes, ended: bool
) -> None:
    generated["noise"] += 1

    with web.connect() as connection:
        connection.sendall(noise + b"\r\n\r\n" * ended)
        connection.shutdown(1)
        answer = read_answer(connection)

    check(answer)
    assert answer.status in (0, 400)
