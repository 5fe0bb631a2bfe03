# SPDX-License-Identifier: Apache-2.0
"""Files: what is stored, what is refused, and that nothing is left behind."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, RequestFactory
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings
from pytest_django.live_server_helper import LiveServer

from batchsite.accounts.models import AuditEvent, Team, User
from batchsite.accounts.people import create_api_key
from jobs.file_store import delete_file, open_content, store_upload
from jobs.models import BatchFile
from jobs.refusals import Refused
from jobs.uploads import SpooledUpload
from tests.conftest import MakeFile
from tests.inputs import api_client, chat_lines
from tests.jobs.kept import stored_files

BOM = b"\xef\xbb\xbf"


def store(
    team: Team, user: User, content: bytes, *, name: str = "a.jsonl"
) -> BatchFile:
    upload = SimpleUploadedFile(name, content)
    return store_upload(team=team, user=user, upload=upload, purpose="batch")


def test_the_clients_name_is_kept_but_never_used(
    team: Team, owner: User, data_folder: Path
) -> None:
    file = store(team, owner, chat_lines(1), name="../../etc/pass wd.jsonl")
    assert file.filename == "pass wd.jsonl"
    (path,) = stored_files(data_folder)
    assert file.storage_name == str(path.relative_to(data_folder / "files"))
    token = path.name
    assert file.storage_name == f"uploads/{token[:2]}/{token}"
    assert len(bytes.fromhex(token)) == 16
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("last", [b"\n", b""])
def test_the_hash_is_that_of_the_bytes(
    team: Team, owner: User, data_folder: Path, last: bytes
) -> None:
    content = chat_lines(2000).rstrip(b"\n") + last
    direct = store(team, owner, content)
    sent = api_client(owner, team).post(
        "/v1/files",
        {"file": SimpleUploadedFile("a.jsonl", content), "purpose": "batch"},
    )
    received = BatchFile.objects.get(public_id=sent.json()["id"])
    for file in (direct, received):
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.bytes == len(content)
        # An unterminated last line is a line.
        assert file.lines == 2000
        with open_content(file=file, user=owner, address="192.0.2.7") as stored:
            assert stored.read() == content
    event = AuditEvent.objects.filter(action="file.download").latest("pk")
    assert (event.target, event.actor, event.team) == (file.public_id, owner, team)
    assert event.address == "192.0.2.7"
    # The spool is empty: the upload was moved, not copied.
    assert len(stored_files(data_folder)) == 2


@pytest.mark.parametrize(
    "content",
    [
        BOM + b'{"a": 1}\n',
        b"\r\n\n  \n" + b'{"a": 1}\r\n',
        b'{"a": "\\ud800\\u0000"}',
        b"\n\n\n",
        b"[]",
        b"[" * 100_000,
        b'{"a": 1}\n\xff not UTF-8, which intake tells',
    ],
)
def test_what_intake_can_judge_is_stored(
    team: Team, owner: User, content: bytes
) -> None:
    assert store(team, owner, content).status == "processed"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"hello\n", "line 1 is not valid JSON"),
        (b"\n\n{'a': 1}", "line 3 is not valid JSON"),
        (b'{"a": "\xff"}', "line 1 is not UTF-8 text"),
        ('{"a": 1}\n'.encode("utf-16"), "line 1 is not UTF-8 text"),
    ],
)
def test_what_is_no_batch_file_is_refused(
    team: Team, owner: User, content: bytes, problem: str, data_folder: Path
) -> None:
    with pytest.raises(Refused) as caught:
        store(team, owner, content)
    assert caught.value.message == (
        f"Invalid file format for Batch API. Must be .jsonl; {problem}."
    )
    assert not BatchFile.objects.exists()
    assert not stored_files(data_folder)


def test_the_first_line_may_be_too_long_to_look_at(
    team: Team, owner: User, settings: Settings
) -> None:
    settings.BATCHSITE_MAX_LINE_BYTES = 10
    assert store(team, owner, b"no JSON in these many bytes\n").bytes == 28


def test_the_limit_is_the_sites_or_the_teams(
    team: Team, owner: User, settings: Settings
) -> None:
    settings.BATCHSITE_MAX_FILE_BYTES = 8
    assert store(team, owner, b'{"a": 1}').bytes == 8
    with pytest.raises(Refused, match=r"^File is too large\.$"):
        store(team, owner, b'{"a": 1}\n')
    team.max_file_bytes = 9
    assert store(team, owner, b'{"a": 1}\n').bytes == 9
    team.max_file_bytes = 0
    with pytest.raises(Refused, match=r"^File is too large\.$"):
        store(team, owner, b"x")


def test_a_team_keeps_so_many_bytes(
    team: Team, other_team: Team, owner: User, settings: Settings, data_folder: Path
) -> None:
    size = len(chat_lines(1))
    settings.BATCHSITE_MAX_STORED_BYTES = 2 * size
    first = store(team, owner, chat_lines(1))
    store(team, owner, chat_lines(1))
    with pytest.raises(Refused, match=f"is full.*used: {2 * size:,}, free: 0"):
        store(team, owner, chat_lines(1))
    assert len(stored_files(data_folder)) == 2
    store(other_team, owner, chat_lines(1))
    delete_file(file=first, user=owner)
    store(team, owner, chat_lines(1))
    settings.BATCHSITE_MAX_STORED_BYTES = 0
    store(team, owner, chat_lines(1))


def test_a_row_that_cannot_be_made_leaves_no_bytes(
    team: Team, data_folder: Path
) -> None:
    nobody = User(email="nobody@example.com")
    with pytest.raises(ValueError, match="unsaved"):
        store(team, nobody, chat_lines(1))
    assert not stored_files(data_folder)


@pytest.mark.django_db(transaction=True)
def test_an_upload_cut_off_leaves_nothing(
    live_server: LiveServer, owner: User, team: Team, data_folder: Path
) -> None:
    token = create_api_key(team=team, user=owner, name="test")
    body = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n'
        b"\r\n" + chat_lines(5000)
    )
    head = (
        "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Authorization: Bearer {token}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(body) + 1000}\r\n\r\n"
    )
    host, _, port = live_server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"The upload was cut off." in answer
    assert not BatchFile.objects.exists()
    assert not stored_files(data_folder)


def test_nobody_fills_the_disk_without_signing_in(
    client: Client, db: None, data_folder: Path, settings: Settings
) -> None:
    settings.BATCHSITE_MAX_FILE_BYTES = 100
    big = SimpleUploadedFile("a.jsonl", b"x" * 100_000)
    r = client.post("/admin/login/", {"file": big})
    assert r.status_code == 200
    assert not stored_files(data_folder)


def test_delete_removes_the_bytes_once(
    make_file: MakeFile,
    owner: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    file = make_file()
    with django_capture_on_commit_callbacks(execute=True):
        assert delete_file(file=file, user=owner, address="192.0.2.1")
    assert not default_storage.exists(file.storage_name)
    # The loser of a race changes nothing.
    assert not delete_file(file=file, user=owner)
    event = AuditEvent.objects.get(action="file.delete")
    assert (event.target, event.actor) == (file.public_id, owner)
    assert event.address == "192.0.2.1"


def test_a_file_that_the_storage_keeps_is_deleted_all_the_same(
    make_file: MakeFile,
    owner: User,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    file = make_file()
    path = Path(default_storage.path(file.storage_name))
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    with django_capture_on_commit_callbacks(execute=True):
        assert delete_file(file=file, user=owner)
    assert f"The bytes {file.storage_name} stay in the storage" in caplog.text
    assert not BatchFile.objects.present().exists()


@pytest.mark.parametrize(("limit", "refused"), [(None, False), (20, True)])
def test_a_forms_upload_is_received_like_the_apis(
    rf: RequestFactory, owner: User, team: Team, limit: int | None, refused: bool
) -> None:
    Team.objects.update(max_file_bytes=limit)
    request = rf.post("/", {"file": SimpleUploadedFile("a.jsonl", chat_lines(1))})
    request.user = owner
    upload = request.FILES["file"]
    assert isinstance(upload, SpooledUpload)
    assert upload.too_large == refused
    if not refused:
        file = store_upload(team=team, user=owner, upload=upload, purpose="batch")
        assert file.sha256 == hashlib.sha256(chat_lines(1)).hexdigest()
    else:
        with pytest.raises(Refused, match="too large"):
            store_upload(team=team, user=owner, upload=upload, purpose="batch")
    request.close()
