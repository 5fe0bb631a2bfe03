# SPDX-License-Identifier: Apache-2.0
"""Whole, broken and endless bodies against real gunicorn (T-01, E-07, F-01)."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inputs import chat_lines
from tests.site import Site, wait_for
from tests.web_server import WebServer, chunked, multipart, serve

pytestmark = pytest.mark.slow

MULTIPART = "Content-Type: multipart/form-data; boundary=b"
CHUNKED = "Transfer-Encoding: chunked"
JSON = "Content-Type: application/json"
LAST_CHUNK = b"0\r\n\r\n"
LIMIT = 1_000_000


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path
) -> Iterator[WebServer]:
    """One server for all: each test looks at its own files only."""
    site = Site(tmp_path_factory.mktemp("transport") / "site")
    shutil.copy(migrated_sqlite, site.folder / "db.sqlite3")
    try:
        yield serve(site, BATCHSITE_MAX_FILE_BYTES=str(LIMIT))
    finally:
        site.close()


def files_named(web: WebServer, name: str) -> list[str]:
    return [found for found in web.files() if found == name]


def nothing_new(web: WebServer, name: str) -> None:
    """The upload of that name left neither a row nor bytes."""
    assert not files_named(web, name)
    kept = len(web.files())
    # The answer may be sent a moment before the request's spool is closed.
    wait_for(lambda: len(web.bytes_kept()) == kept, what="an empty spool")


def test_a_chunked_upload_is_stored_whole(web: WebServer) -> None:
    content = chat_lines(3000)
    head, body, end = multipart(content, name="chunked.jsonl")
    cut = [body[start : start + 5000] for start in range(0, len(body), 5000)]
    r = web.send(
        [
            web.head("/v1/files", MULTIPART, CHUNKED),
            *chunked([head, *cut, end]),
            LAST_CHUNK,
        ]
    )
    assert r.status == 200, r.body
    assert r.json()["bytes"] == len(content)
    (row,) = web.site.query(
        "SELECT * FROM jobs_batchfile WHERE filename = %s", "chunked.jsonl"
    )
    assert row["lines"] == 3000
    stored = web.site.folder / "files" / row["storage_name"]
    assert stored.read_bytes() == content


def test_a_chunked_json_body_is_read(web: WebServer) -> None:
    body = json.dumps(
        {
            "input_file_id": "file-none",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
    ).encode()
    r = web.send(
        [
            web.head("/v1/batches", JSON, CHUNKED),
            *chunked([body[:20], body[20:]]),
            LAST_CHUNK,
        ]
    )
    assert r.status == 200, r.body
    assert r.json()["status"] == "validating"


def test_a_chunked_json_body_over_the_limit_is_refused(web: WebServer) -> None:
    body = b'{"a": "' + b"x" * 1_100_000 + b'"}'
    pieces = [web.head("/v1/batches", JSON, CHUNKED), *chunked([body]), LAST_CHUNK]
    r = web.send(pieces)
    assert (r.status, r.message) == (
        413,
        "The request body is larger than 1,000,000 bytes.",
    )


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (b"", "cut off after a chunk"),
        (b"fffff\r\n{}", "cut off in a chunk"),
        (b"0\r\n", "cut off before the trailer's end"),
        (b"zz\r\n{}\r\n0\r\n\r\n", "a size that is no number"),
        (b"2\r\n{}no line end", "a chunk that is longer than its size"),
        (b"-2\r\n{}\r\n0\r\n\r\n", "a negative size"),
        (b"x" * 20_000, "a size line without end"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
def test_a_broken_chunked_body_leaves_nothing(
    web: WebServer, broken: bytes, what: str, path: str
) -> None:
    head, body, end = multipart(chat_lines(2000), name="broken.jsonl")
    if path == "/v1/files":
        # All of the upload is there, only the end of the HTTP body is not.
        start = [web.head(path, MULTIPART, CHUNKED), *chunked([head, body, end])]
    else:
        start = [web.head(path, JSON, CHUNKED), *chunked([b'{"input_file_id": "f"}'])]
    r = web.send([*start, broken], close=True)
    assert r.status == 400, (what, r.body)
    assert r.message.startswith("The request could not be read"), what
    nothing_new(web, "broken.jsonl")


@pytest.mark.parametrize("length", ["chunked", "counted"])
def test_an_upload_over_the_limit_is_told_so(web: WebServer, length: str) -> None:
    line = b'{"a": 1}\n'
    head, body, end = multipart(line * (LIMIT // len(line) + 1), name="big.jsonl")
    if length == "chunked":
        pieces = [
            web.head("/v1/files", MULTIPART, CHUNKED),
            *chunked([head, body, end]),
            LAST_CHUNK,
        ]
    else:
        size = len(head) + len(body) + len(end)
        pieces = [
            web.head("/v1/files", MULTIPART, f"Content-Length: {size}"),
            *(head, body, end),
        ]
    r = web.send(pieces)
    assert (r.status, r.message) == (400, "File is too large.")
    nothing_new(web, "big.jsonl")


def test_an_endless_body_is_cut_off(web: WebServer) -> None:
    head, _, _ = multipart(b"", name="endless.jsonl")
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        yield web.head("/v1/files", MULTIPART, CHUNKED)
        yield from chunked([head])
        piece = b"1" * 1_000_000
        for _ in range(1000):
            yield from chunked([piece])
            sent += len(piece)

    r = web.send(pieces())
    # What the client still sends may cost it the answer, never the refusal.
    assert r.status in (0, 400)
    assert sent < 200_000_000
    nothing_new(web, "endless.jsonl")


@pytest.mark.parametrize("missing", [1, 9, 2000])
def test_an_upload_without_its_end_is_refused(web: WebServer, missing: int) -> None:
    """Its length is that of its header: only the closing boundary tells."""
    whole = b"".join(multipart(chat_lines(100), name="cut.jsonl"))[:-2]
    part = whole[:-missing]
    r = web.send(
        [web.head("/v1/files", MULTIPART, f"Content-Length: {len(part)}"), part]
    )
    assert r.status == 400
    assert "The upload was cut off." in r.message
    nothing_new(web, "cut.jsonl")


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
def test_a_compressed_body_is_refused_in_words(web: WebServer, path: str) -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    kind = MULTIPART if path == "/v1/files" else JSON
    head = web.head(
        path, kind, "Content-Encoding: gzip", f"Content-Length: {len(bomb)}"
    )
    r = web.send([head, bomb])
    assert r.status == 415
    assert r.json()["error"]["code"] == "unsupported_content_encoding"
    assert "'gzip' is not supported" in r.message


def test_a_form_that_comes_in_chunks_is_read_like_any_other(web: WebServer) -> None:
    kind = "Content-Type: application/x-www-form-urlencoded"
    head = web.head("/login/", kind, CHUNKED)
    r = web.send([head, *chunked([b"username=a&password=b"]), LAST_CHUNK])
    # Without the token of the form it is refused, as it would be with a length.
    assert r.status == 403


def test_a_stranger_sends_no_body_at_all(web: WebServer) -> None:
    head, body, end = multipart(chat_lines(10), name="stranger.jsonl")
    request = web.head("/v1/files", MULTIPART, CHUNKED).replace(
        web.key.encode(), b"sk-bs-wrong"
    )
    r = web.send([request, *chunked([head, body, end]), LAST_CHUNK])
    assert r.status == 401
    nothing_new(web, "stranger.jsonl")
