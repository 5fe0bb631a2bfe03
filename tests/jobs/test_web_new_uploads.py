# SPDX-License-Identifier: Apache-2.0
"""Files that the browser sends in parts."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from batchsite.accounts.models import Team, User
from jobs.models import BatchFile, Upload
from tests.inputs import chat_lines

UPLOADS = "/batches/new/uploads/"
CONTENT = chat_lines(3)


@pytest.fixture
def signed_in(client: Client, teammate: User) -> Client:
    client.force_login(teammate)
    return client


def begin(client: Client, team: Team, **over: Any) -> Any:
    given: dict[str, Any] = {
        "team": team.pk,
        "filename": "a.jsonl",
        "bytes": len(CONTENT),
    }
    return client.post(UPLOADS, given | over)


def send(client: Client, upload: str, data: bytes) -> Any:
    piece = SimpleUploadedFile("part", data)
    return client.post(f"{UPLOADS}{upload}/parts/", {"data": piece})


def test_parts_become_a_file_and_may_be_sent_again(
    signed_in: Client, team: Team
) -> None:
    upload = begin(signed_in, team).json()["id"]
    first = send(signed_in, upload, CONTENT[:100]).json()["id"]
    # The answer was lost.
    assert send(signed_in, upload, CONTENT[:100]).json()["id"] == first
    # The page was loaded again.
    state = signed_in.get(f"{UPLOADS}{upload}/").json()
    assert (state["status"], state["parts"]) == ("pending", [first])
    second = send(signed_in, upload, CONTENT[100:]).json()["id"]

    ids = {"part": [first, second]}
    r = signed_in.post(f"{UPLOADS}{upload}/complete/", ids)
    again = signed_in.post(f"{UPLOADS}{upload}/complete/", ids)

    file = BatchFile.objects.get()
    assert r.json() == {"next": f"/batches/new/files/{file.public_id}/"}
    assert again.json() == r.json()
    with default_storage.open(file.storage_name) as stored:
        assert stored.read() == CONTENT


def test_a_table_goes_to_its_prompt(signed_in: Client, team: Team) -> None:
    upload = begin(signed_in, team, filename="a.tsv", bytes=4).json()["id"]
    part = send(signed_in, upload, b"a\tb\n").json()["id"]
    r = signed_in.post(f"{UPLOADS}{upload}/complete/", {"part": [part]})

    file = BatchFile.objects.get()
    assert r.json()["next"] == f"/batches/new/tables/{file.public_id}/"
    assert file.purpose == "user_data"
    assert file.expires_at is not None


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"filename": "a.txt"}, "ends in .jsonl, .csv"),
        ({"bytes": 10**12}, "too large"),
        ({"bytes": "much"}, "whole number"),
    ],
)
def test_what_is_refused_is_said_in_words(
    signed_in: Client, team: Team, over: dict[str, object], words: str
) -> None:
    r = begin(signed_in, team, **over)
    assert r.status_code == 400
    assert words in r.json()["error"]
    assert not Upload.objects.exists()


def test_refusals_of_parts_and_of_the_end(signed_in: Client, team: Team) -> None:
    upload = begin(signed_in, team).json()["id"]
    r = signed_in.post(f"{UPLOADS}{upload}/parts/")
    assert (r.status_code, "data" in r.json()["error"]) == (400, True)
    r = send(signed_in, upload, CONTENT + b"more")
    assert "larger than the upload" in r.json()["error"]
    r = signed_in.post(f"{UPLOADS}{upload}/complete/", {"part": ["part_none"]})
    assert "no such part" in r.json()["error"]

    Upload.objects.update(expires_at=timezone.now())
    r = send(signed_in, upload, CONTENT)
    assert "status 'expired'" in r.json()["error"]


def test_an_upload_is_thrown_away_once(signed_in: Client, team: Team) -> None:
    upload = begin(signed_in, team).json()["id"]
    send(signed_in, upload, CONTENT)
    for _ in range(2):
        r = signed_in.post(f"{UPLOADS}{upload}/cancel/")
        assert r.json()["status"] == "cancelled"
    assert not BatchFile.objects.exists()


def test_who_may(
    client: Client, teammate: User, viewer: User, stranger: User, team: Team
) -> None:
    client.force_login(teammate)
    upload = begin(client, team).json()["id"]
    posts = [
        UPLOADS,
        *(f"{UPLOADS}{upload}/{verb}/" for verb in ("parts", "complete", "cancel")),
    ]
    for address in posts:
        assert client.get(address).status_code == 405
    for user, status in ((viewer, 403), (stranger, 404)):
        client.force_login(user)
        assert begin(client, team).status_code == status
        assert client.get(f"{UPLOADS}{upload}/").status_code == status
        for address in posts[1:]:
            assert client.post(address).status_code == status
    client.logout()
    for address in posts:
        assert client.post(address)["Location"] == f"/login/?next={address}"
    assert Upload.objects.get().status == "pending"


def test_forms_of_other_sites_are_refused(teammate: User, team: Team) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(teammate)
    assert begin(client, team).status_code == 403
    assert not Upload.objects.exists()
