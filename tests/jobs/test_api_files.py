# SPDX-License-Identifier: Apache-2.0
"""/v1/files (conformance F-01 to F-14, T-02, T-03, T-04, T-08, E-05, E-06, E-09)."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from openai.types import FileDeleted, FileObject
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from jobs.models import BatchFile
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import api_client, chat_lines, error_of


def upload(api: APIClient, content: bytes = b'{"a": 1}\n', **fields: Any) -> Any:
    name = fields.pop("filename", "requests.jsonl")
    data = {"file": SimpleUploadedFile(name, content), "purpose": "batch", **fields}
    return api.post("/v1/files", {k: v for k, v in data.items() if v is not None})


def content(r: Any) -> bytes:
    return b"".join(r.streaming_content)


def test_upload_answers_the_whole_file_object(api: APIClient, team: Team) -> None:
    r = upload(api, chat_lines(3))
    file = BatchFile.objects.get()
    assert r.status_code == 200
    assert r.json() == {
        "id": file.public_id,
        "object": "file",
        "bytes": len(chat_lines(3)),
        "created_at": int(file.created_at.timestamp()),
        "expires_at": int(file.created_at.timestamp()) + 2_592_000,
        "filename": "requests.jsonl",
        "purpose": "batch",
        "status": "processed",
        "status_details": None,
    }
    assert FileObject.model_validate(r.json(), strict=True).id == file.public_id
    assert file.team == team
    assert file.created_by is not None
    with default_storage.open(file.storage_name) as stored:
        assert stored.read() == chat_lines(3)


def test_every_purpose_parses_and_is_found_again(api: APIClient) -> None:
    """OpenAI's object has no purpose `evals`, though files may be uploaded for it."""
    for purpose in ("assistants", "batch", "fine-tune", "vision", "user_data", "evals"):
        sent = upload(api, purpose=purpose).json()
        shown = FileObject.model_validate(sent, strict=True).purpose
        assert shown == ("user_data" if purpose == "evals" else purpose)
        listed = api.get(f"/v1/files?purpose={purpose}").json()["data"]
        assert listed == [sent]


def test_expires_after_comes_in_brackets(api: APIClient) -> None:
    life: dict[str, Any] = {
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": "3600",
    }
    r = upload(api, **life).json()
    assert r["expires_at"] - r["created_at"] == 3600


@pytest.mark.parametrize("purpose", ["assistants", "fine-tune", "vision", "user_data"])
def test_other_purposes_take_any_file_and_keep_it(api: APIClient, purpose: str) -> None:
    r = upload(api, b"\xff\xfe\x00", purpose=purpose, filename="a.png")
    assert r.status_code == 200
    assert FileObject.model_validate(r.json(), strict=True).expires_at is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"purpose": None}, ("purpose", "missing_required_parameter")),
        ({"purpose": "batch_output"}, ("purpose", "invalid_value")),
        ({"purpose": ""}, ("purpose", "empty_string")),
        ({"file": None}, ("file", "missing_required_parameter")),
        ({"file": "text"}, ("file", "invalid_type")),
        ({"name": "x"}, ("name", "unknown_parameter")),
        ({"more": SimpleUploadedFile("b", b"b")}, ("more", "unknown_parameter")),
        (
            {"file": [SimpleUploadedFile("a", b"a"), SimpleUploadedFile("b", b"b")]},
            ("file", "invalid_type"),
        ),
        (
            {"expires_after[anchor]": "created_at"},
            ("expires_after.seconds", "missing_required_parameter"),
        ),
        (
            {"expires_after[anchor]": "now", "expires_after[seconds]": "3600"},
            ("expires_after.anchor", "invalid_value"),
        ),
        (
            {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
            ("expires_after.seconds", "integer_below_min_value"),
        ),
        (
            {"expires_after[anchor]": "created_at", "expires_after[seconds]": "1e9"},
            ("expires_after.seconds", "invalid_type"),
        ),
    ],
)
def test_a_wrong_field_is_named(
    api: APIClient, fields: dict[str, Any], expected: tuple[str, str]
) -> None:
    r = upload(api, **fields)
    assert error_of(r) == (400, *expected)
    assert not BatchFile.objects.exists()


def test_a_batch_file_must_be_jsonl_by_name(api: APIClient) -> None:
    r = upload(api, filename="requests.json")
    assert error_of(r) == (400, None, None)
    told = r.json()["error"]
    assert told["message"] == "Invalid file format for Batch API. Must be .jsonl"
    assert told["type"] == "invalid_request_error"


def test_a_file_over_the_teams_limit_is_refused(api: APIClient, team: Team) -> None:
    team.max_file_bytes = 10
    team.save(update_fields=["max_file_bytes"])
    assert upload(api, b'{"a": 12}\n').status_code == 200
    r = upload(api, b'{"a": 123}\n')
    assert error_of(r) == (400, None, None)
    assert r.json()["error"]["message"] == "File is too large."


def test_a_viewer_looks_but_does_not_write(
    viewer: User, team: Team, make_file: MakeFile
) -> None:
    api, file = api_client(viewer, team), make_file()
    assert api.get("/v1/files").status_code == 200
    assert content(api.get(f"/v1/files/{file.public_id}/content")) == b'{"a": 1}\n'
    denied = (403, None, "insufficient_permissions")
    assert error_of(upload(api)) == denied
    assert error_of(api.delete(f"/v1/files/{file.public_id}")) == denied
    assert BatchFile.objects.present().count() == 1


def test_another_teams_file_does_not_exist(
    stranger: User, other_team: Team, make_file: MakeFile
) -> None:
    api, file = api_client(stranger, other_team), make_file()
    for r in (
        api.get(f"/v1/files/{file.public_id}"),
        api.get(f"/v1/files/{file.public_id}/content"),
        api.delete(f"/v1/files/{file.public_id}"),
    ):
        assert error_of(r) == (404, "id", None)
        message = r.json()["error"]["message"]
        assert message == f"No such File object: {file.public_id}"
    assert api.get("/v1/files").json()["data"] == []


@pytest.mark.parametrize("bad", ["file-0", "x" * 500, "%00", "%ff", "ünknown"])
def test_an_unknown_file_is_named(api: APIClient, bad: str) -> None:
    assert error_of(api.get(f"/v1/files/{bad}")) == (404, "id", None)


@pytest.mark.parametrize("accept", ["application/binary", "text/html", "nonsense"])
def test_content_comes_whole_whatever_is_accepted(
    api: APIClient, make_file: MakeFile, accept: str
) -> None:
    file = make_file(b"\x00\xff\r\n" * 100_000, filename="ä b.jsonl")
    r = api.get(f"/v1/files/{file.public_id}/content", headers={"accept": accept})
    assert r.status_code == 200
    assert r["Content-Type"] == "application/octet-stream"
    assert r["Content-Length"] == "400000"
    assert r["Content-Disposition"].startswith("attachment")
    assert content(r) == b"\x00\xff\r\n" * 100_000


def test_content_that_the_storage_lost_is_404(
    api: APIClient, make_file: MakeFile
) -> None:
    file = make_file()
    default_storage.delete(file.storage_name)
    r = api.get(f"/v1/files/{file.public_id}/content")
    assert error_of(r) == (404, "id", None)


def test_a_deleted_file_is_gone_but_its_batch_still_names_it(
    api: APIClient, make_file: MakeFile, make_batch: MakeBatch
) -> None:
    file = make_file(purpose="batch_output")
    batch = make_batch(status="completed", output_file=file)
    r = api.delete(f"/v1/files/{file.public_id}")
    assert r.json() == {"id": file.public_id, "object": "file", "deleted": True}
    assert FileDeleted.model_validate(r.json(), strict=True).deleted
    again = api.delete(f"/v1/files/{file.public_id}")
    assert error_of(again) == (404, "id", None)
    assert error_of(api.get(f"/v1/files/{file.public_id}/content"))[0] == 404
    shown = api.get(f"/v1/batches/{batch.public_id}").json()
    assert shown["output_file_id"] == file.public_id


def test_list_is_newest_first_and_pages_by_id(
    api: APIClient, make_file: MakeFile
) -> None:
    ids = [make_file().public_id for _ in range(5)][::-1]
    first = api.get("/v1/files?limit=2").json()
    assert [file["id"] for file in first["data"]] == ids[:2]
    assert (first["object"], first["has_more"]) == ("list", True)
    assert (first["first_id"], first["last_id"]) == (ids[0], ids[1])
    rest = api.get(f"/v1/files?after={ids[1]}").json()
    assert [file["id"] for file in rest["data"]] == ids[2:]
    assert rest["has_more"] is False
    oldest = api.get(f"/v1/files?order=asc&limit=2&after={ids[4]}").json()
    assert [file["id"] for file in oldest["data"]] == [ids[3], ids[2]]


def test_an_empty_list_has_all_its_keys(api: APIClient) -> None:
    assert api.get("/v1/files").json() == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_list_by_purpose(api: APIClient, make_file: MakeFile) -> None:
    make_file()
    output = make_file(purpose="batch_output")
    r = api.get("/v1/files?purpose=batch_output").json()
    assert [file["id"] for file in r["data"]] == [output.public_id]
    assert api.get("/v1/files?purpose=no%00such").json()["data"] == []


def test_deleting_while_paging_reaches_every_file(
    api: APIClient, make_file: MakeFile
) -> None:
    ids = [make_file().public_id for _ in range(4)][::-1]
    api.delete(f"/v1/files/{ids[1]}")
    r = api.get(f"/v1/files?after={ids[1]}").json()
    assert [file["id"] for file in r["data"]] == ids[2:]


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ("after=file-none", "after", "invalid_value"),
        ("after=%00", "after", "invalid_value"),
        ("limit=0", "limit", "integer_below_min_value"),
        ("limit=10001", "limit", "integer_above_max_value"),
        ("limit=many", "limit", "invalid_type"),
        ("order=random", "order", "invalid_value"),
    ],
)
def test_a_wrong_query_is_named(
    api: APIClient, query: str, param: str, code: str
) -> None:
    assert error_of(api.get(f"/v1/files?{query}")) == (400, param, code)


def test_list_costs_few_queries(
    api: APIClient,
    make_file: MakeFile,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    last = [make_file() for _ in range(5)][-1]
    api.get("/v1/files")  # notes the key's use
    # the key with its person's role, the cursor, the page
    with django_assert_num_queries(3):
        api.get(f"/v1/files?after={last.public_id}")
