# SPDX-License-Identifier: Apache-2.0
"""Large files in parts, cut off and gone on with, against the site's own API."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage

from batchsite.cli import config, uploading
from batchsite.cli.api import Api
from batchsite.cli.problems import Refused, Unreachable
from jobs.models import BatchFile, Upload, UploadPart
from jobs.parts import cancel_upload
from tests.inputs import chat_lines

pytestmark = pytest.mark.django_db(transaction=True)
PART = 3000


class Site:
    """An API whose connection breaks after so many parts."""

    def __init__(self, parts: int = 10**6) -> None:
        self.api = Api(config.access(), say=lambda why: None)
        self.left = parts
        self.sent = 0
        post_form = self.api.post_form

        def counted(path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
            if path.endswith("/parts"):
                if not self.left:
                    raise Unreachable("the network is down")
                self.left -= 1
                self.sent += 1
            return post_form(path, *args, **kwargs)

        self.api.post_form = counted  # type: ignore[method-assign]  # the network's part


def send(
    site: Site, path: Path, *, part: int = PART
) -> tuple[str, list[str], list[int]]:
    """The file's id, what was said, and how the bytes counted up."""
    said: list[str] = []
    told: list[int] = []
    with closing(site.api) as api:
        file_id = uploading.upload(
            api,
            path,
            name="a.jsonl",
            told=lambda sent, size: told.append(sent),
            say=said.append,
            part_bytes=part,
        )
    return file_id, said, told


def content(file_id: str) -> bytes:
    file = BatchFile.objects.get(pk=BatchFile.objects.latest("pk").pk)
    assert file.public_id == file_id
    with default_storage.open(file.storage_name) as stored:
        found: bytes = stored.read()
    return found


def records() -> list[Path]:
    return list(config.folder("STATE", "").glob("uploads/*"))


@pytest.fixture
def path(signed_in: str, home: Path) -> Path:
    made = home / "a.jsonl"
    made.write_bytes(chat_lines(100))
    return made


def test_a_small_file_goes_in_one_call(path: Path) -> None:
    file_id, said, told = send(Site(), path, part=10**6)
    assert content(file_id) == path.read_bytes()
    assert (told[0], told[-1], said) == (0, path.stat().st_size, [])
    assert not Upload.objects.exists()


def test_a_large_file_goes_in_parts(path: Path) -> None:
    site = Site()
    file_id, _, told = send(site, path)
    assert content(file_id) == path.read_bytes()
    assert site.sent == -(-path.stat().st_size // PART) > 3
    assert told == sorted(told)
    assert told[-1] == path.stat().st_size
    assert records() == []


def test_the_same_command_goes_on_where_it_was_cut_off(path: Path) -> None:
    with pytest.raises(Unreachable):
        send(Site(parts=2), path)
    assert UploadPart.objects.count() == 2
    (record,) = records()
    assert record.stat().st_mode & 0o777 == 0o600
    # Under another name too: it is the content that counts.
    moved = path.rename(path.with_name("b.jsonl"))
    site = Site()
    file_id, said, told = send(site, moved)
    assert said == ["Going on with the upload that was begun earlier."]
    assert site.sent == -(-moved.stat().st_size // PART) - 2
    assert told[0] == 2 * PART
    assert content(file_id) == moved.read_bytes()
    assert Upload.objects.count() == 1
    assert records() == []


def test_changed_content_is_another_upload(path: Path) -> None:
    with pytest.raises(Unreachable):
        send(Site(parts=2), path)
    path.write_bytes(path.read_bytes().replace(b"Count", b"Tally"))
    file_id, said, _ = send(Site(), path)
    assert said == []
    assert content(file_id) == path.read_bytes()


def test_an_upload_that_ended_meanwhile_begins_anew(path: Path) -> None:
    with pytest.raises(Unreachable):
        send(Site(parts=2), path)
    cancel_upload(upload=Upload.objects.get())
    file_id, said, _ = send(Site(), path)
    assert said[1] == "That upload has ended at the site. Beginning anew."
    assert content(file_id) == path.read_bytes()


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"upload_id": 1, "x": 2}'])
def test_a_broken_record_is_no_obstacle(path: Path, text: str) -> None:
    with pytest.raises(Unreachable):
        send(Site(parts=1), path)
    records()[0].write_text(text)
    file_id, said, _ = send(Site(), path)
    assert said == []
    assert content(file_id) == path.read_bytes()


def test_records_of_old_uploads_go(path: Path) -> None:
    with pytest.raises(Unreachable):
        send(Site(parts=1), path)
    (record,) = records()
    known = json.loads(record.read_text())
    record.write_text(json.dumps(known | {"expires_at": time.time() - 1}))
    other = record.with_name("other.json")
    other.write_text("{}")
    os.utime(other, (1, 1))
    _, said, _ = send(Site(), path)
    assert said == []
    assert records() == []


def test_a_refused_file_leaves_no_record(path: Path) -> None:
    path.write_bytes(b"no json\n" * 1000)
    with pytest.raises(Refused, match="Invalid file format"):
        send(Site(), path)
    assert records() == []
