# SPDX-License-Identifier: Apache-2.0
"""Bodies without Content-Length, as any WSGI server may hand them over."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import create_api_key
from batchsite.chunked import with_chunked_bodies
from jobs.models import BatchFile
from tests.inputs import chat_lines
from tests.jobs.kept import stored_files
from tests.web_server import multipart

UPLOAD = b"".join(multipart(chat_lines(3), name="a.jsonl"))


class CutOff(io.BytesIO):
    """A body whose server finds out at its end that it was cut off."""

    def __init__(self, content: bytes, error: Exception) -> None:
        super().__init__(content)
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if data := super().read(size):
            return data
        raise self.error


def post(key: str, path: str, body: io.BytesIO, **over: Any) -> tuple[int, Any]:
    """Call the application as a server does that decodes chunks; status and answer."""
    status = ""

    def start_response(line: str, headers: Any) -> None:
        nonlocal status
        status = line

    meta = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "HTTP_AUTHORIZATION": f"Bearer {key}",
        "HTTP_TRANSFER_ENCODING": "Chunked",
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
    } | over
    answer = with_chunked_bodies(WSGIHandler())(meta, start_response)
    content = b"".join(answer)
    answer.close()  # type: ignore[attr-defined]  # Django's answers have it
    return int(status.split()[0]), json.loads(content)


@pytest.fixture(autouse=True)
def kept_connection() -> Iterator[None]:
    """Keep requests from closing the connection in which the test's transaction is."""
    for moment in (request_started, request_finished):
        moment.disconnect(close_old_connections)
    yield
    for moment in (request_started, request_finished):
        moment.connect(close_old_connections)


@pytest.fixture
def key(team: Team, owner: User) -> str:
    return create_api_key(team=team, user=owner, name="test")


def test_a_body_is_read_to_the_end_that_the_server_finds(key: str) -> None:
    status, answer = post(key, "/v1/files", io.BytesIO(UPLOAD))
    assert (status, answer["bytes"]) == (200, len(chat_lines(3)))
    status, answer = post(
        key,
        "/v1/uploads",
        io.BytesIO(
            b'{"filename": "a", "bytes": 1, "mime_type": "x", "purpose": "vision"}'
        ),
        CONTENT_TYPE="application/json",
    )
    assert (status, answer["status"]) == (200, "pending")


@pytest.mark.parametrize("coding", ["chunked", "gzip, chunked", "identity", ""])
def test_a_body_without_an_end_is_refused(
    key: str, coding: str, data_folder: Path
) -> None:
    """By a server that does not say that it ends bodies, or knows the coding not."""
    says = {"wsgi.input_terminated": coding != "chunked"}
    status, answer = post(
        key, "/v1/files", io.BytesIO(UPLOAD), HTTP_TRANSFER_ENCODING=coding, **says
    )
    assert status == 411
    message = answer["error"]["message"]
    assert message == "Send the body with a Content-Length header."
    assert not stored_files(data_folder)


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("bad chunk")])
@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=b", "application/json"]
)
def test_a_body_that_breaks_off_is_the_clients_fault(
    key: str, error: Exception, kind: str, data_folder: Path
) -> None:
    path = "/v1/files" if kind.startswith("multipart") else "/v1/batches"
    body = CutOff(UPLOAD if path == "/v1/files" else b'{"a": 1}', error)
    status, answer = post(key, path, body, CONTENT_TYPE=kind)
    assert status == 400
    assert answer["error"]["message"].startswith("The request could not be read: ")
    assert not BatchFile.objects.exists()
    assert not stored_files(data_folder)


def test_a_header_cannot_pretend_to_be_the_server(key: str) -> None:
    status, _ = post(
        key,
        "/v1/files",
        io.BytesIO(UPLOAD),
        **{"wsgi.input_terminated": False, "HTTP_BATCHSITE_CHUNKED": "1"},
    )
    assert status == 411
