# SPDX-License-Identifier: Apache-2.0
"""Generated multipart forms: an accepted file is what was sent, else nothing stays."""

from __future__ import annotations

import gzip
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework.test import APIClient

from jobs.models import BatchFile
from tests.described import check

from .amounts import fuzzed, generated
from .strategies import ASCII, FILES, TEXT

pytestmark = pytest.mark.django_db
BOUNDARY = b"frontier"
CONTENT = FILES | st.binary(max_size=60) | st.binary(max_size=60).map(gzip.compress)
NAMES = st.sampled_from(["file", "file", "file", "purpose", "data", "expires_after"])


def part(name: str, content: bytes, filename: str | None, more: bytes = b"") -> bytes:
    """One part of a form; names go in as clients write them, and worse."""
    head = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"'
    raw = head.encode(errors="surrogatepass")
    return (
        b"--" + BOUNDARY + b"\r\n" + raw + b"\r\n" + more + b"\r\n" + content + b"\r\n"
    )


PURPOSE = part("purpose", b"batch", None)
FILE = st.builds(
    part,
    NAMES | TEXT,
    CONTENT,
    st.sampled_from(["in.jsonl", "../../in.jsonl", "in.txt", None, ""]) | TEXT,
    st.sampled_from(
        [
            *(b"", b"", b"Content-Type: application/jsonl\r\n"),
            *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Encoding: gzip\r\n"),
            b"Content-Type: text/plain; charset=utf-7\r\n",
        ]
    ),
)
FIELD = st.builds(
    part,
    st.sampled_from(
        ["purpose", "expires_after[anchor]", "expires_after[seconds]", "file"]
    )
    | TEXT,
    st.sampled_from(
        [b"batch", b"user_data", b"created_at", b"3600", b"\xff", b"9" * 99]
    )
    | ASCII.map(str.encode),
    st.none(),
)
FORMS = st.builds(
    lambda parts, end: b"".join(parts) + end,
    st.lists(FILE | FIELD | st.just(PURPOSE), max_size=5),
    st.sampled_from(
        [b"--" + BOUNDARY + b"--\r\n"] * 3 + [b"", b"--" + BOUNDARY, b"--"]
    ),
)


@pytest.fixture
def unlimited(settings: Settings) -> None:
    """Calls are not limited here."""
    settings.BATCHSITE_REQUESTS_PER_MINUTE = 0


def send(api: APIClient, form: Any, **extra: Any) -> Any:
    """POST the form as it is."""
    return api.generic(
        "POST",
        "/v1/files",
        form,
        content_type=f"multipart/form-data; boundary={BOUNDARY.decode()}",
        **extra,
    )


def stored() -> int:
    """How many files lie in the storage and in the spool."""
    folders = [Path(django_settings.DATA_DIR) / name for name in ("files", "spool")]
    return sum(p.is_file() for folder in folders for p in folder.rglob("*"))


@fuzzed(300, content=CONTENT, filename=ASCII)
@pytest.mark.usefixtures("unlimited")
def test_what_a_form_brings_is_what_is_kept(
    api: APIClient, content: bytes, filename: str
) -> None:
    generated["uploads"] += 1
    kept = stored()
    safe = filename.replace('"', "").replace("\\", "")
    if b"--" + BOUNDARY in content:
        return
    form = part("purpose", b"user_data", None) + part("file", content, f"{safe}.a")

    answer = send(api, form + b"--" + BOUNDARY + b"--\r\n")

    check(answer)
    assert answer.status_code == 200
    assert answer.json()["bytes"] == len(content)
    assert check(api.get(f"/v1/files/{answer.json()['id']}/content")) == content
    assert stored() == kept + 1


@fuzzed(700, form=FORMS)
@pytest.mark.usefixtures("unlimited")
def test_forms_never_break_the_server_and_leave_nothing_half(
    api: APIClient, form: bytes
) -> None:
    generated["forms"] += 1
    kept, rows = stored(), BatchFile.objects.count()

    answer = send(api, form)

    check(answer)
    assert answer.status_code in (200, 400)
    new = answer.status_code == 200
    assert BatchFile.objects.count() == rows + new
    assert stored() == kept + new
    if new:
        shown = answer.json()
        content = check(api.get(f"/v1/files/{shown['id']}/content"))
        assert len(content) == shown["bytes"]


@fuzzed(200, content=FILES, missing=st.integers(1, 200))
@pytest.mark.usefixtures("unlimited")
def test_a_form_that_was_cut_off_leaves_nothing(
    api: APIClient, content: bytes, missing: int
) -> None:
    generated["cut forms"] += 1
    kept, rows = stored(), BatchFile.objects.count()
    form = PURPOSE + part("file", content, "in.jsonl") + b"--" + BOUNDARY + b"--\r\n"

    # The header promises the whole of it.
    cut = {"wsgi.input": BytesIO(form[:-missing]), "CONTENT_LENGTH": str(len(form))}
    answer = send(api, b"", **cut)

    check(answer)
    assert answer.status_code == 400
    assert (stored(), BatchFile.objects.count()) == (kept, rows)
