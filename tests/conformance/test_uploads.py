# SPDX-License-Identifier: Apache-2.0
"""U: files that come in parts."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response

from .proof import proves
from .server import LocalServer, Server, error
from .strict import FileObject, Upload, UploadPart, ok

PART_BYTES = 64_000_000


def wanted(data: bytes, **over: Any) -> dict[str, Any]:
    """The body that begins an upload of that content."""
    return {
        "filename": "in.jsonl",
        "purpose": "batch",
        "bytes": len(data),
        "mime_type": "application/jsonl",
    } | over


def begin(server: Server, data: bytes, **over: Any) -> str:
    """The id of a new upload."""
    answer = server.post("/uploads", wanted(data, **over))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def add(server: Server, upload_id: str, data: bytes) -> Response:
    """Send one part."""
    return server.http.post(f"/uploads/{upload_id}/parts", files={"data": ("p", data)})


def finish(server: Server, upload_id: str, *part_ids: str, **over: Any) -> Response:
    """Complete an upload."""
    return server.post(
        f"/uploads/{upload_id}/complete", {"part_ids": list(part_ids)} | over
    )


@proves("U-01", "U-02", "T-11")
def test_the_upload_object_is_whole(server: Server) -> None:
    _, upload = ok(Upload, server.post("/uploads", wanted(b"12345")))

    assert set(upload) >= {
        *("id", "object", "bytes", "created_at", "filename", "purpose"),
        *("status", "expires_at"),
    }
    assert upload["object"] == "upload"
    assert upload["status"] == "pending"
    assert (upload["bytes"], upload["filename"]) == (5, "in.jsonl")
    assert upload["purpose"] == "batch"
    assert upload["expires_at"] == upload["created_at"] + 3600
    assert upload.get("file") is None


@proves("U-01")
@pytest.mark.parametrize("purpose", ["assistants", "batch", "fine-tune", "vision"])
def test_an_upload_may_have_each_purpose(server: Server, purpose: str) -> None:
    answer = server.post("/uploads", wanted(b"x", purpose=purpose))

    assert answer.json()["purpose"] == purpose


@proves("U-01", "E-04")
@pytest.mark.parametrize("field", ["filename", "purpose", "bytes", "mime_type"])
def test_an_upload_needs_each_field(server: Server, field: str) -> None:
    body = wanted(b"x")
    del body[field]

    answer = server.post("/uploads", body)

    assert error(answer) == (400, field, "missing_required_parameter")


@proves("U-01", "U-02")
@pytest.mark.parametrize(
    ("over", "param"),
    [
        ({"purpose": "batch_output"}, "purpose"),
        ({"bytes": "many"}, "bytes"),
        ({"bytes": -1}, "bytes"),
        ({"bytes": 8_589_934_593}, "bytes"),
        ({"bytes": 1e999}, None),
        ({"filename": ""}, "filename"),
        ({"more": 1}, "more"),
        ({"expires_after": {"anchor": "created_at"}}, "expires_after.seconds"),
    ],
    ids=str,
)
def test_an_upload_refuses_what_is_wrong(
    server: Server, over: dict[str, Any], param: str | None
) -> None:
    # JSON has no Infinity, but it has numbers that no float holds.
    body = json.dumps(wanted(b"x", **over)).replace("Infinity", "1e999")
    answer = server.http.post(
        "/uploads",
        content=body.encode(),
        headers={"Content-Type": "application/json"},
    )

    status, named, _ = error(answer)
    assert status == 400
    if param:
        assert named == param


@proves("U-03", "U-04", "T-11", "F-13")
def test_parts_may_come_at_once_and_are_joined_as_asked(server: Server) -> None:
    data = server.requests(300)
    cut = [data[start : start + 10_000] for start in range(0, len(data), 10_000)]
    upload_id = begin(server, data)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda part: add(server, upload_id, part), cut[::-1]))
    parts = [ok(UploadPart, answer)[1] for answer in answers][::-1]
    assert {part["upload_id"] for part in parts} == {upload_id}
    assert {part["object"] for part in parts} == {"upload.part"}
    md5 = hashlib.md5(data).hexdigest()
    part_ids = [part["id"] for part in parts]
    _, done = ok(Upload, finish(server, upload_id, *part_ids, md5=md5))

    assert done["status"] == "completed"
    file = FileObject.model_validate(done["file"], strict=True)
    assert (file.bytes, file.filename, file.purpose) == (len(data), "in.jsonl", "batch")
    assert server.content(file.id) == data
    batch = server.wait(server.create(file.id).json())
    assert batch["request_counts"]["completed"] == 300


@proves("U-03", "U-04")
def test_the_sdk_uploads_a_file_in_parts(server: Server, tmp_path: Path) -> None:
    data = server.requests(200)
    path = tmp_path / "in.jsonl"
    path.write_bytes(data)

    upload = server.client.uploads.upload_file_chunked(
        file=path, mime_type="application/jsonl", purpose="batch", part_size=5000
    )

    assert upload.status == "completed"
    assert upload.file is not None
    assert server.content(upload.file.id) == data


@proves("U-03")
def test_a_part_over_64_mb_is_refused(server: Server) -> None:
    upload_id = begin(server, b"x", bytes=2 * PART_BYTES)

    answer = add(server, upload_id, bytes((1 << 26) + 1))

    assert error(answer)[0] in (400, 413)


@proves("U-03")
@pytest.mark.parametrize("form", [{}, {"more": "x"}], ids=["nothing", "other"])
def test_a_part_needs_its_data(server: Server, form: dict[str, str]) -> None:
    upload_id = begin(server, b"x")

    answer = server.http.post(
        f"/uploads/{upload_id}/parts", data=form, files={"other": ("p", b"x")}
    )

    assert error(answer)[0] == 400


@proves("U-04")
def test_completing_checks_size_sum_and_parts(server: Server) -> None:
    data = b'{"a": 1}\n'
    upload_id = begin(server, data)
    first = add(server, upload_id, data[:4]).json()["id"]
    second = add(server, upload_id, data[4:]).json()["id"]
    foreign = add(server, begin(server, b"x"), b"x").json()["id"]

    for refused in (
        finish(server, upload_id, first),
        finish(server, upload_id, first, second, second),
        finish(server, upload_id, first, foreign),
        finish(server, upload_id),
        finish(server, upload_id, first, second, md5="0" * 32),
        finish(server, upload_id, first, second, more=1),
        server.post(f"/uploads/{upload_id}/complete", {}),
    ):
        assert error(refused)[0] == 400
    done = finish(server, upload_id, first, second)
    assert done.json()["status"] == "completed"
    assert error(add(server, upload_id, b"x"))[0] == 400
    assert error(server.post(f"/uploads/{upload_id}/cancel"))[0] == 400


@proves("U-05")
def test_a_cancelled_upload_takes_no_more_parts(server: Server) -> None:
    upload_id = begin(server, b"12")
    part = add(server, upload_id, b"12").json()["id"]

    _, cancelled = ok(Upload, server.post(f"/uploads/{upload_id}/cancel"))

    assert cancelled["status"] == "cancelled"
    assert cancelled.get("file") is None
    assert error(add(server, upload_id, b"x"))[0] == 400
    assert error(finish(server, upload_id, part))[0] == 400


@proves("U-02")
def test_an_upload_ends_after_its_hour(local_site: LocalServer) -> None:
    upload_id = begin(local_site, b"12")
    part = add(local_site, upload_id, b"12").json()["id"]
    local_site.site.query(
        "UPDATE jobs_upload SET expires_at = %s WHERE public_id = %s",
        "2026-01-01 00:00:00",
        upload_id,
    )

    assert error(add(local_site, upload_id, b"12"))[0] == 400
    assert error(finish(local_site, upload_id, part))[0] == 400


@proves("U-04", "U-05")
def test_an_unknown_upload_is_not_found(server: Server) -> None:
    for answer in (
        add(server, "upload_none", b"x"),
        finish(server, "upload_none", "part_x"),
        server.post("/uploads/upload_none/cancel"),
    ):
        assert error(answer)[0] == 404
