# SPDX-License-Identifier: Apache-2.0
"""Multipart bodies that no client of good will sends: refused in words, nothing left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import FileObject
from rest_framework.test import APIClient

from jobs.models import BatchFile
from tests.inputs import error_of
from tests.jobs.kept import stored_files

CONTENT = b'{"a": 1}\n'


def send(
    api: APIClient,
    body: bytes,
    *,
    kind: str = "multipart/form-data; boundary=b",
    **headers: str,
) -> Any:
    """POST these very bytes to /v1/files."""
    sender: Any = api  # its stubs know of text only
    return sender.generic("POST", "/v1/files", body, content_type=kind, headers=headers)


def part(disposition: str | bytes, content: bytes, *headers: str) -> bytes:
    """A part of the body, with the boundary `b` before it."""
    shown = disposition.encode() if isinstance(disposition, str) else disposition
    more = "".join(f"{header}\r\n" for header in headers).encode()
    return (
        b"--b\r\nContent-Disposition: form-data; %b\r\n" % shown
        + b"%b\r\n%b\r\n" % (more, content)
    )


PURPOSE = part('name="purpose"', b"batch")
FILE = part('name="file"; filename="a.jsonl"', CONTENT)
END = b"--b--\r\n"


def named(name: str | bytes) -> bytes:
    """A whole body with a file of that name."""
    shown = name.encode() if isinstance(name, str) else name
    return PURPOSE + part(b'name="file"; filename="' + shown + b'"', CONTENT) + END


def test_the_plain_body_of_these_tests_is_fine(api: APIClient) -> None:
    assert send(api, PURPOSE + FILE + END).status_code == 200


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd.jsonl", "passwd.jsonl"),
        ("C:\\\\x\\\\y.jsonl", "y.jsonl"),
        ("/absolute.jsonl", "absolute.jsonl"),
        ("a\u202elnosj.jsonl", "alnosj.jsonl"),
        ("n\0l.jsonl", "nl.jsonl"),
        ("&#47;etc&sol;x.jsonl", "x.jsonl"),
        ("semi;colon.jsonl", "semi;colon.jsonl"),
        ("\u0645\u0644\u0641 \U0001f600.jsonl", "\u0645\u0644\u0641 \U0001f600.jsonl"),
        ("<script>.jsonl", "<script>.jsonl"),
    ],
)
def test_a_hostile_name_is_cleaned_and_travels_safely(
    api: APIClient, name: str, kept: str, data_folder: Path
) -> None:
    r = send(api, named(name))
    assert (r.status_code, r.json().get("filename")) == (200, kept), r.json()
    FileObject.model_validate(r.json(), strict=True)
    (path,) = stored_files(data_folder)
    assert path.name.isalnum()
    sent: Any = api.get(f"/v1/files/{r.json()['id']}/content")
    disposition = sent["Content-Disposition"]
    assert disposition.startswith("attachment; filename")
    assert disposition.isascii()
    assert disposition.isprintable()
    assert b"".join(sent.streaming_content) == CONTENT
    assert sent["Content-Length"] == str(len(CONTENT))


def test_a_very_long_name_is_refused_or_cut(api: APIClient) -> None:
    # Headers of a part may have 1,024 bytes in all.
    r = send(api, named("x" * 10_000 + ".jsonl"))
    assert error_of(r)[0] == 400
    r = send(api, named("x" * 500 + ".jsonl"))
    assert len(r.json()["filename"]) == 255
    assert r.json()["filename"].endswith("x.jsonl")


@pytest.mark.parametrize("name", ["", ".", "..", "a/", "\u202e", b"\xff.jsonl"])
def test_a_file_without_a_name_is_no_file(api: APIClient, name: str | bytes) -> None:
    r = send(api, named(name))
    assert error_of(r)[:2] == (400, "file")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (PURPOSE + FILE + END, "multipart/form-data; boundary=other"),
        (PURPOSE + FILE + END, "multipart/form-data"),
        (PURPOSE + FILE + END, "multipart/form-data; boundary="),
        (PURPOSE + FILE + END, f"multipart/form-data; boundary={'b' * 500}"),
        (PURPOSE + FILE + END, "multipart/form-data; boundary=b\xe4"),
        (PURPOSE + FILE, "multipart/form-data; boundary=b"),
        (PURPOSE + FILE + b"--b\r\n", "multipart/form-data; boundary=b"),
        (PURPOSE + FILE + b"--b-", "multipart/form-data; boundary=b"),
        (PURPOSE + FILE[:-20], "multipart/form-data; boundary=b"),
        (b"\0" * 5000, "multipart/form-data; boundary=b"),
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
    ],
)
def test_a_broken_frame_leaves_nothing(
    api: APIClient, body: bytes, kind: str, data_folder: Path
) -> None:
    assert error_of(send(api, body, kind=kind))[0] in (400, 415)
    assert not BatchFile.objects.exists()
    assert not stored_files(data_folder)


@pytest.mark.parametrize(
    "body",
    [
        # headers without end, too many of them, and too many parts
        PURPOSE + part('name="file"; filename="a.jsonl"', CONTENT, "X: " + "x" * 5000),
        PURPOSE + b"".join(part('name="n"', b"v") for _ in range(1100)) + FILE + END,
        PURPOSE + FILE * 120 + END,
        PURPOSE + FILE + FILE + END,
        part('name="purpose"', b"batch" * 10_000) + FILE + END,
        part('name="purpose"', b"x" * 21_000_000) + FILE + END,
        part('name="purpose"', b"\xff\0") + FILE + END,
        PURPOSE
        + part(
            'name="file"; filename="a.jsonl"',
            b"not base64!",
            "Content-Transfer-Encoding: base64",
        )
        + END,
        PURPOSE + part('name="file"', CONTENT) + END,
    ],
)
def test_a_form_bomb_is_refused_in_words(
    api: APIClient, body: bytes, data_folder: Path
) -> None:
    assert error_of(send(api, body))[0] == 400
    assert not BatchFile.objects.exists()
    assert not stored_files(data_folder)


@pytest.mark.parametrize("charset", ["utf-16", "hex", "rot13", "idna", "none-such"])
def test_the_charset_of_a_header_changes_nothing(api: APIClient, charset: str) -> None:
    kind = f"multipart/form-data; boundary=b; charset={charset}"
    r = send(api, PURPOSE + FILE + END, kind=kind)
    assert (r.status_code, r.json().get("filename")) == (200, "a.jsonl")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "x" * 5000])
def test_a_compressed_upload_is_not_stored(
    api: APIClient, coding: str, data_folder: Path
) -> None:
    headers = {"content-encoding": coding}
    r = send(api, PURPOSE + FILE + END, **headers)
    assert error_of(r) == (415, None, "unsupported_content_encoding")
    assert not stored_files(data_folder)
    plain = send(api, PURPOSE + FILE + END, **{"content-encoding": "Identity"})
    assert plain.status_code == 200


@pytest.mark.django_db
@settings(max_examples=60)
@given(
    body=st.binary(max_size=300),
    cut=st.integers(0, 400),
    kind=st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"])),
)
def test_no_bytes_make_a_server_error(body: bytes, cut: int, kind: str) -> None:
    """Random bytes, and the good body with some of them in the middle."""
    # Made once: each example is only bytes.
    api = fuzzed_client()
    good = PURPOSE + FILE + END
    for sent in (body, good[:cut] + body + good[cut:], good[:cut]):
        r = send(api, sent)
        assert r.status_code in (200, 400, 411), r.content
    assert send(api, good, kind=kind).status_code in (400, 415)
    BatchFile.objects.all().delete()


def fuzzed_client() -> APIClient:
    from batchsite.accounts.models import ApiKey, Team, User
    from tests.inputs import api_client

    # All examples share one database, and nobody may have many keys.
    ApiKey.objects.all().delete()
    team, _ = Team.objects.get_or_create(name="Fuzz")
    staff = User.objects.filter(is_staff=True).first()
    return api_client(staff or User.objects.create_superuser("f@example.com"), team)
