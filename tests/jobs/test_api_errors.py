# SPDX-License-Identifier: Apache-2.0
"""Whatever fails under /v1/ has the envelope (T-05) and a request id (T-07)."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from jobs.models import Batch
from tests.conftest import MakeFile
from tests.inputs import error_of


@pytest.fixture(params=[False, True], ids=["plain", "DEBUG"])
def debug(request: pytest.FixtureRequest, settings: Settings) -> bool:
    settings.DEBUG = on = bool(request.param)
    return on


def post(api: APIClient, path: str, body: bytes, kind: str) -> Any:
    return api.generic("POST", path, body, content_type=kind)  # type: ignore[arg-type]  # bytes are sent as they are


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/files/", "/v1/", "/v1", "/v1/ä"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_unknown_paths(client: Client, debug: bool, path: str, method: str) -> None:
    # APPEND_SLASH redirects none of them, and no key is needed to hear it.
    r = getattr(client, method)(path)
    assert error_of(r) == (404, None, None)
    assert r.json()["error"]["message"].startswith(f"Invalid URL ({method.upper()} /v1")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("put", "/v1/files"),
        ("patch", "/v1/batches"),
        ("delete", "/v1/models"),
        ("options", "/v1/batches"),
        ("get", "/v1/batches/batch_1/cancel"),
    ],
)
def test_wrong_method(api: APIClient, debug: bool, method: str, path: str) -> None:
    assert error_of(getattr(api, method)(path)) == (405, None, "method_not_supported")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/batches", "text/plain"),
        ("/v1/batches", "application/x-www-form-urlencoded"),
        ("/v1/files", "application/json"),
        ("/v1/files", ""),
    ],
)
def test_wrong_content_type(api: APIClient, path: str, kind: str) -> None:
    r = post(api, path, b"{}", kind)
    assert error_of(r) == (415, None, "unsupported_content_type")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"input_file_id": NaN}',
        b'{"input_file_id": "\xff"}',
        b'{"input_file_id": "\\u0000"}',
        b'{"\\ud800": 1}',
        b'{"metadata": {"a": ["\\udfff"]}}',
        b"[" * 100_000,
        b'{"a": ' * 5000 + b"1" + b"}" * 5000,
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
)
def test_malformed_json(api: APIClient, debug: bool, body: bytes) -> None:
    r = post(api, "/v1/batches", body, "application/json")
    assert error_of(r) == (400, None, None)
    assert not Batch.objects.exists()


def test_a_huge_json_body(api: APIClient) -> None:
    body = json.dumps({"input_file_id": "x" * 1_000_000}).encode()
    r = post(api, "/v1/batches", body, "application/json")
    assert error_of(r) == (413, None, None)


def test_an_empty_json_body(api: APIClient) -> None:
    r = post(api, "/v1/batches", b"", "application/json")
    assert error_of(r) == (400, "input_file_id", "missing_required_parameter")


def fields(count: int, end: bytes = b"--b--\r\n") -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n'
    return b"".join(head % number for number in range(count)) + end


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"nonsense", "multipart/form-data"),
        (b"nonsense", "multipart/form-data; boundary=\xe4"),
        (fields(2000), "multipart/form-data; boundary=b"),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\nabc\r\n--b--\r\n",
            "multipart/form-data; boundary=b",
        ),
    ],
)
def test_malformed_multipart(
    api: APIClient, debug: bool, body: bytes, kind: str
) -> None:
    r = post(api, "/v1/files", body, kind)
    assert error_of(r) == (400, None, None)


@pytest.mark.parametrize(
    "disposition",
    [
        b"form-data; name*=unicode_escape''%5Cud800",
        b"form-data; name=\"a\"; filename*=no_such_codec''%41",
        b'form-data; name="\xff\xfe"',
        b"form-data",
        b"",
    ],
)
def test_strange_parts(api: APIClient, disposition: bytes) -> None:
    part = b"--b\r\nContent-Disposition: " + disposition + b"\r\n\r\n1\r\n--b--\r\n"
    r = post(api, "/v1/files", part, "multipart/form-data; boundary=b")
    assert error_of(r)[0] == 400


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
def test_a_body_of_unknown_length(api: APIClient, path: str) -> None:
    r = api.post(path, headers={"transfer-encoding": "chunked"})
    assert error_of(r) == (411, None, None)


def test_a_multipart_body_without_parts(api: APIClient) -> None:
    kind = "multipart/form-data; boundary=b"
    r = post(api, "/v1/files", b"nonsense", kind)
    assert error_of(r) == (400, None, None)
    told = "Malformed multipart body: The upload was cut off."
    assert r.json()["error"]["message"] == told


def test_a_foreign_host(client: Client, debug: bool, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    r = client.post("/v1/batches", headers={"host": "evil.example"})
    assert error_of(r)[0] in (400, 401)
    settings.SECURE_SSL_REDIRECT = True
    assert error_of(client.get("/v1/x", headers={"host": "evil.example"}))[0] == 400


def test_a_bug_is_a_server_error_without_details(
    api: APIClient, debug: bool, data_folder: Path
) -> None:
    # The storage cannot make its folder.
    data_folder.mkdir()
    (data_folder / "files").write_text("in the way")
    r = api.post("/v1/files", {"file": BytesIO(b"x"), "purpose": "vision"})
    assert error_of(r) == (500, None, None)
    assert str(data_folder) not in r.content.decode()
    assert "x-should-retry" not in r


def test_every_answer_has_its_own_request_id(
    api: APIClient, make_file: MakeFile
) -> None:
    file = make_file()
    answers = [
        api.get("/v1/files", headers={"x-request-id": "mine"}),
        api.get("/v1/files"),
        api.get(f"/v1/files/{file.public_id}/content"),
        api.get("/v1/nothing"),
    ]
    ids = {r["x-request-id"] for r in answers}
    assert len(ids) == 4
    assert all(request_id.startswith("req_") for request_id in ids)
    b"".join(answers[2].streaming_content)  # type: ignore[attr-defined]  # a stream


def test_pages_keep_their_own_errors(client: Client, db: None) -> None:
    r = client.get("/v1nothing")
    assert r.status_code == 404
    assert r["Content-Type"].startswith("text/html")
