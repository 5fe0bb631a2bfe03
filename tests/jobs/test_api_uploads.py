# SPDX-License-Identifier: Apache-2.0
"""/v1/uploads (conformance U-01 to U-05)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types import Upload as UploadObject
from openai.types.uploads import UploadPart as PartObject
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import create_api_key
from jobs import gates, parts
from jobs.models import BatchFile, Upload, UploadPart
from tests.inputs import api_client, chat_lines, error_of
from tests.jobs.kept import stored_files

CONTENT = chat_lines(5)


def begin(api: APIClient, **over: Any) -> Any:
    body = {
        "filename": "requests.jsonl",
        "purpose": "batch",
        "bytes": len(CONTENT),
        "mime_type": "application/jsonl",
    } | over
    kept = {key: value for key, value in body.items() if value is not None}
    return api.post("/v1/uploads", kept, format="json")


def put(api: APIClient, upload: str, content: bytes) -> Any:
    data = {"data": SimpleUploadedFile("part", content)}
    return api.post(f"/v1/uploads/{upload}/parts", data)


def end(api: APIClient, upload: str, *parts: str, **more: Any) -> Any:
    body = {"part_ids": list(parts), **more}
    return api.post(f"/v1/uploads/{upload}/complete", body, format="json")


def cancel(api: APIClient, upload: str) -> Any:
    return api.post(f"/v1/uploads/{upload}/cancel")


def stale(upload: str) -> None:
    """Let the upload's hour be over."""
    past = timezone.now() - timedelta(seconds=1)
    Upload.objects.filter(public_id=upload).update(expires_at=past)


@pytest.fixture
def client(live_server: LiveServer, owner: User, team: Team) -> Iterator[OpenAI]:
    """OpenAI's client; answers that do not fit its types are errors."""
    with OpenAI(
        base_url=f"{live_server.url}/v1",
        api_key=create_api_key(team=team, user=owner, name="test"),
        max_retries=0,
        _strict_response_validation=True,
    ) as opened:
        yield opened


@pytest.mark.django_db(transaction=True)
def test_openais_client_uploads_in_parts(
    client: OpenAI, tmp_path: Path, data_folder: Path
) -> None:
    md5 = hashlib.md5(CONTENT).hexdigest()

    path = tmp_path / "big.jsonl"
    path.write_bytes(CONTENT)
    done = client.uploads.upload_file_chunked(
        file=path,
        mime_type="application/jsonl",
        purpose="batch",
        part_size=100,
        md5=md5,
    )
    assert done.status == "completed"
    assert done.file is not None
    assert client.files.content(done.file.id).content == CONTENT
    assert len(stored_files(data_folder)) == 1

    upload = client.uploads.create(
        filename="b.jsonl",
        bytes=len(CONTENT),
        mime_type="text/jsonl",
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    second = client.uploads.parts.create(upload.id, data=CONTENT[200:])
    first = client.uploads.parts.create(upload.id, data=CONTENT[:200])
    assert second.upload_id == upload.id
    done = client.uploads.complete(upload.id, part_ids=[first.id, second.id], md5=md5)
    assert done.file is not None
    assert done.file.expires_at == done.file.created_at + 3600
    assert client.files.retrieve(done.file.id).bytes == len(CONTENT)

    third = client.uploads.create(
        filename="c.jsonl", bytes=5, mime_type="x", purpose="batch"
    )
    client.uploads.parts.create(third.id, data=b"12345")
    assert client.uploads.cancel(third.id).status == "cancelled"
    with pytest.raises(BadRequestError, match="status 'cancelled'"):
        client.uploads.complete(third.id, part_ids=[])
    with pytest.raises(NotFoundError, match="No such Upload object: upload_none"):
        client.uploads.cancel("upload_none")
    assert len(stored_files(data_folder)) == 2


def test_the_objects_are_openais(api: APIClient) -> None:
    r = begin(api)
    upload = Upload.objects.get()
    created = int(upload.created_at.timestamp())
    assert r.json() == {
        "id": upload.public_id,
        "object": "upload",
        "bytes": len(CONTENT),
        "created_at": created,
        "expires_at": created + 3600,
        "filename": "requests.jsonl",
        "purpose": "batch",
        "status": "pending",
        "file": None,
    }
    UploadObject.model_validate(r.json(), strict=True)
    part = put(api, upload.public_id, CONTENT).json()
    assert (part["object"], part["upload_id"]) == ("upload.part", upload.public_id)
    PartObject.model_validate(part, strict=True)
    done = end(api, upload.public_id, part["id"]).json()
    assert UploadObject.model_validate(done, strict=True).status == "completed"
    file = BatchFile.objects.get()
    assert done["file"] == api.get(f"/v1/files/{file.public_id}").json()
    assert file.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (file.lines, file.bytes, file.purpose) == (5, len(CONTENT), "batch")
    # 30 days, as for a file that comes in one piece
    assert done["file"]["expires_at"] == done["file"]["created_at"] + 2_592_000


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ({"filename": None}, ("filename", "missing_required_parameter")),
        ({"purpose": None}, ("purpose", "missing_required_parameter")),
        ({"bytes": None}, ("bytes", "missing_required_parameter")),
        ({"mime_type": None}, ("mime_type", "missing_required_parameter")),
        ({"filename": ""}, ("filename", "empty_string")),
        ({"filename": "a/.."}, ("filename", "invalid_value")),
        ({"filename": 5}, ("filename", "invalid_type")),
        ({"purpose": "batch_output"}, ("purpose", "invalid_value")),
        ({"bytes": 0}, ("bytes", "integer_below_min_value")),
        ({"bytes": 8 * 1024**3 + 1}, ("bytes", "integer_above_max_value")),
        ({"bytes": 1.5}, ("bytes", "invalid_type")),
        ({"bytes": True}, ("bytes", "invalid_type")),
        ({"bytes": 200_000_001}, (None, None)),
        ({"filename": "a.json"}, (None, None)),
        ({"more": 1}, ("more", "unknown_parameter")),
        (
            {"expires_after": {"anchor": "created_at", "seconds": 5}},
            ("expires_after.seconds", "integer_below_min_value"),
        ),
    ],
)
def test_a_wrong_field_is_named(
    api: APIClient, over: dict[str, Any], expected: tuple[str | None, str | None]
) -> None:
    assert error_of(begin(api, **over)) == (400, *expected)
    assert not Upload.objects.exists()


def test_a_file_over_the_teams_limit_is_refused_at_once(
    api: APIClient, team: Team
) -> None:
    team.max_file_bytes = 10
    team.save(update_fields=["max_file_bytes"])
    assert begin(api, bytes=10).status_code == 200
    r = begin(api, bytes=11)
    assert r.json()["error"]["message"] == "File is too large."


def test_other_purposes_take_any_bytes(api: APIClient) -> None:
    upload = begin(api, filename="a.png", purpose="vision", bytes=3).json()["id"]
    part = put(api, upload, b"\xff\0\n").json()["id"]
    done = end(api, upload, part).json()
    assert done["file"]["expires_at"] is None
    assert done["file"]["purpose"] == "vision"


def test_a_name_is_cleaned_as_in_a_form(api: APIClient) -> None:
    r = begin(api, filename="../etc\\pass\u202ewd\x07.jsonl")
    assert r.json()["filename"] == "passwd.jsonl"
    long = begin(api, filename="x" * 10_000 + ".jsonl").json()["filename"]
    assert (len(long), long[-7:]) == (255, "x.jsonl")


def test_bytes_that_are_sent_again_are_the_same_part(
    api: APIClient, data_folder: Path
) -> None:
    """A client repeats a call whose answer it did not get."""
    half = b'{"a": 1}\n'
    upload = begin(api, bytes=2 * len(half)).json()["id"]
    first = put(api, upload, half).json()
    assert put(api, upload, half).json() == first
    assert put(api, upload, half).json() == first
    assert len(stored_files(data_folder)) == 1
    done = end(api, upload, first["id"], first["id"]).json()
    assert (done["file"]["bytes"], BatchFile.objects.get().lines) == (2 * len(half), 2)


def test_parts_over_the_declared_size_are_refused(
    api: APIClient, data_folder: Path
) -> None:
    upload = begin(api, bytes=10).json()["id"]
    assert put(api, upload, b"1234567").status_code == 200
    r = put(api, upload, b"8901")
    assert error_of(r) == (400, "data", None)
    assert "they have 11 bytes, and 10 were declared" in r.json()["error"]["message"]
    assert put(api, upload, b"890").status_code == 200
    assert UploadPart.objects.count() == len(stored_files(data_folder)) == 2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, (400, "data", "missing_required_parameter")),
        ({"data": "text"}, (400, "data", "invalid_type")),
        ({"data": SimpleUploadedFile("p", b"")}, (400, "data", None)),
        (
            {"data": [SimpleUploadedFile("p", b"1"), SimpleUploadedFile("q", b"2")]},
            (400, "data", "invalid_type"),
        ),
        ({"file": SimpleUploadedFile("p", b"1")}, (400, "file", "unknown_parameter")),
    ],
)
def test_a_wrong_part_is_named(
    api: APIClient, data: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    upload = begin(api).json()["id"]
    assert error_of(api.post(f"/v1/uploads/{upload}/parts", data)) == expected
    assert not UploadPart.objects.exists()


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "part_ids", "missing_required_parameter"),
        ({"part_ids": "p"}, "part_ids", "invalid_type"),
        ({"part_ids": [1]}, "part_ids[0]", "invalid_type"),
        ({"part_ids": []}, "part_ids", None),
        ({"part_ids": ["GOOD", "part_none"]}, "part_ids[1]", "invalid_value"),
        ({"part_ids": ["GOOD", "GOOD"]}, "part_ids", None),
        ({"part_ids": ["GOOD"], "md5": 5}, "md5", "invalid_type"),
        ({"part_ids": ["GOOD"], "md5": "xyz"}, "md5", "invalid_value"),
        ({"part_ids": ["GOOD"], "md5": "0" * 32}, "md5", "invalid_value"),
        ({"part_ids": ["GOOD"], "more": 1}, "more", "unknown_parameter"),
    ],
)
def test_a_wrong_completion_leaves_the_upload_as_it_was(
    api: APIClient,
    body: dict[str, Any],
    param: str,
    code: str | None,
    data_folder: Path,
) -> None:
    upload = begin(api).json()["id"]
    good = put(api, upload, CONTENT).json()["id"]
    if isinstance(body.get("part_ids"), list):
        ids = [good if one == "GOOD" else one for one in body["part_ids"]]
        body = body | {"part_ids": ids}
    r = api.post(f"/v1/uploads/{upload}/complete", body, format="json")
    assert error_of(r) == (400, param, code)
    assert Upload.objects.get().status == "pending"
    assert not BatchFile.objects.exists()
    # The part, and nothing of the file that was tried.
    assert len(stored_files(data_folder)) == 1
    assert end(api, upload, good).status_code == 200


def test_a_part_of_another_upload_is_unknown(api: APIClient) -> None:
    upload, other = begin(api).json()["id"], begin(api).json()["id"]
    part = put(api, other, CONTENT).json()["id"]
    assert error_of(end(api, upload, part))[1] == "part_ids[0]"


def test_the_file_is_checked_like_any_upload(api: APIClient, data_folder: Path) -> None:
    upload = begin(api, bytes=6).json()["id"]
    part = put(api, upload, b"hello\n").json()["id"]
    r = end(api, upload, part)
    assert error_of(r) == (400, None, None)
    assert "line 1 is not valid JSON" in r.json()["error"]["message"]
    assert Upload.objects.get().status == "pending"
    assert len(stored_files(data_folder)) == 1


def test_repeating_the_end_is_harmless(
    api: APIClient,
    data_folder: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    upload = begin(api).json()["id"]
    part = put(api, upload, CONTENT).json()["id"]
    with django_capture_on_commit_callbacks(execute=True):
        done = end(api, upload, part)
    assert end(api, upload, part).json() == done.json()
    assert BatchFile.objects.count() == len(stored_files(data_folder)) == 1
    other = begin(api).json()["id"]
    put(api, other, CONTENT)
    with django_capture_on_commit_callbacks(execute=True):
        gone = cancel(api, other)
    assert gone.json()["status"] == "cancelled"
    assert cancel(api, other).json() == gone.json()
    assert len(stored_files(data_folder)) == 1


@pytest.mark.parametrize("status", ["completed", "cancelled", "expired"])
def test_an_upload_that_ended_takes_nothing_more(api: APIClient, status: str) -> None:
    upload = begin(api).json()["id"]
    part = put(api, upload, CONTENT).json()["id"]
    if status == "completed":
        end(api, upload, part)
    elif status == "cancelled":
        cancel(api, upload)
    else:
        stale(upload)
    refused = {"add a part to": put(api, upload, b"more")}
    if status != "completed":
        refused["complete"] = end(api, upload, part)
    if status != "cancelled":
        refused["cancel"] = cancel(api, upload)
    for verb, r in refused.items():
        assert error_of(r) == (400, None, None)
        told = f"Cannot {verb} an upload with status '{status}'."
        assert r.json()["error"]["message"] == told
    assert Upload.objects.get().status == status
    assert not UploadPart.objects.exists()


def test_another_teams_upload_does_not_exist(
    api: APIClient, stranger: User, other_team: Team
) -> None:
    upload = begin(api).json()["id"]
    foreign = api_client(stranger, other_team)
    for r in (
        put(foreign, upload, b"x"),
        end(foreign, upload),
        cancel(foreign, upload),
    ):
        assert error_of(r) == (404, "id", None)
    assert not UploadPart.objects.exists()
    assert Upload.objects.get().status == "pending"


def test_a_viewer_may_not_upload(viewer: User, team: Team) -> None:
    r = begin(api_client(viewer, team))
    assert error_of(r) == (403, None, "insufficient_permissions")


@pytest.mark.parametrize("path", ["", "/x/parts", "/x/complete", "/x/cancel"])
def test_looking_is_not_offered(api: APIClient, path: str) -> None:
    assert error_of(api.get(f"/v1/uploads{path}"))[0] == 405


def test_a_team_has_so_many_pending_uploads(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MOST_PENDING", 2)
    first, second = (begin(api).json()["id"] for _ in range(2))
    r = begin(api)
    assert r.status_code == 429
    assert r.json()["error"]["code"] == "rate_limit_exceeded"
    assert "2 pending uploads" in r.json()["error"]["message"]
    cancel(api, first)
    assert begin(api).status_code == 200
    stale(second)
    assert begin(api).status_code == 200


def test_pending_uploads_count_as_kept_and_are_counted_once(
    api: APIClient, settings: Settings
) -> None:
    settings.BATCHSITE_MAX_STORED_BYTES = len(CONTENT) + 1
    upload = begin(api).json()["id"]
    r = begin(api)
    assert error_of(r) == (400, None, None)
    assert "The storage of" in r.json()["error"]["message"]
    part = put(api, upload, CONTENT).json()["id"]
    assert end(api, upload, part).status_code == 200
    assert error_of(begin(api))[0] == 400


def test_too_many_part_ids_are_refused(api: APIClient) -> None:
    upload = begin(api).json()["id"]
    r = end(api, upload, *["part_x"] * 1001)
    assert error_of(r) == (400, "part_ids", "array_above_max_length")


def test_a_process_joins_few_large_files_at_once(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, small = (begin(api).json()["id"] for _ in range(2))
    part, other = (put(api, one, CONTENT).json()["id"] for one in (upload, small))
    with gates.place(gates.FILES_WRITTEN, ""), gates.place(gates.FILES_WRITTEN, ""):
        assert end(api, small, other).status_code == 200
        monkeypatch.setattr(gates, "LIGHT_BYTES", 0)
        r = end(api, upload, part)
        assert (r.status_code, r["Retry-After"]) == (429, "5")
    assert end(api, upload, part).status_code == 200
