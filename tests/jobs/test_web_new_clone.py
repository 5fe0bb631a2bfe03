# SPDX-License-Identifier: Apache-2.0
"""A new batch like an old one: its file, its options, and what is changed."""

from __future__ import annotations

import json
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from batchsite.accounts.models import User
from batchsite.accounts.people import ensure_member
from jobs.models import Batch, BatchFile, ServedModel
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import chat_lines

NEW = "/batches/new/"
GIVEN = {"endpoint": "/v1/chat/completions", "dedupe": "on", "do": "create"}


@pytest.fixture(autouse=True)
def tiny(db: None) -> ServedModel:
    return ServedModel.objects.create(name="tiny", source="/m")


@pytest.fixture
def signed_in(client: Client, teammate: User) -> Client:
    client.force_login(teammate)
    return client


def address_of(file: BatchFile) -> str:
    return f"{NEW}files/{file.public_id}/"


def a_file(name: str) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, chat_lines(2))


def test_a_clone_begins_with_the_same_file_if_it_is_there(
    client: Client, teammate: User, stranger: User, make_batch: MakeBatch
) -> None:
    batch = make_batch(name="Mails")
    file = batch.input_file
    assert file is not None
    client.force_login(teammate)
    query = f"?clone={batch.public_id}"

    r = client.get(NEW + query)
    assert r["Location"] == f"/batches/new/files/{file.public_id}/{query}"

    BatchFile.objects.filter(pk=file.pk).update(deleted_at=file.created_at)
    page = client.get(NEW + query).content.decode()
    assert "its input file is gone" in page
    r = client.post(NEW + query, {"team": batch.team_id, "file": a_file("b.jsonl")})
    made = BatchFile.objects.get(filename="b.jsonl")
    assert r["Location"] == f"/batches/new/files/{made.public_id}/{query}"

    # Its options are its team's: no other team is offered.
    ensure_member(team_name="Red", email=teammate.email, role="member")
    assert "Red" not in client.get(NEW + query).content.decode()
    client.force_login(stranger)
    assert client.get(NEW + query).status_code == 404
    assert client.get(f"{NEW}?clone=%00").status_code == 404


def test_another_file_may_be_chosen(signed_in: Client, make_batch: MakeBatch) -> None:
    batch = make_batch(name="Mails")
    assert batch.input_file is not None
    page = signed_in.get(f"{address_of(batch.input_file)}?clone={batch.public_id}")
    link = re.search(r'href="([^"]+)" data-key="u"', page.content.decode())
    assert link

    page = signed_in.get(link[1].replace("&amp;", "&"))

    assert "</a>, with another file." in page.content.decode()
    assert "is gone" not in page.content.decode()


def test_what_a_link_changes_is_marked_and_made(
    signed_in: Client, make_batch: MakeBatch, make_file: MakeFile
) -> None:
    ServedModel.objects.create(name="large", source="/l")
    two = json.loads(chat_lines(1)) | {"custom_id": "b"}
    two["body"]["model"] = "large"
    file = make_file(chat_lines(1) + json.dumps(two).encode())
    old = make_batch(input_file=file)
    query = f"?clone={old.public_id}"
    page = signed_in.get(address_of(file) + query).content.decode()
    link = re.search(r'href="([^"]+)">allow different models', page)
    assert link
    assert f"clone={old.public_id}" in link[1]

    page = signed_in.get(
        address_of(file) + link[1].replace("&amp;", "&")
    ).content.decode()

    assert "Every line is good" in page
    assert re.search(r'name="allow_mixed_models"[^>]* checked', page)
    assert re.findall(r'is-changed" data-was="([^"]*)"', page) == ["no"]


def test_a_clone_has_the_old_options_and_marks_what_is_new(
    signed_in: Client, make_batch: MakeBatch
) -> None:
    old = make_batch(
        name="Mails",
        tags=["may", "x"],
        priority=3,
        metadata={"a": "1", "b": "2"},
        dedupe=False,
        output_expires_after=86_400,
    )
    file = old.input_file
    assert file is not None
    address = f"{address_of(file)}?clone={old.public_id}"

    page = signed_in.get(address).content.decode()
    assert 'value="Mails"' in page
    assert 'value="may, x"' in page
    assert "a = 1\nb = 2" in page
    assert "is-changed" not in page
    given = {
        **GIVEN,
        "name": "Mails again",
        "tags": "may, x",
        "priority": "3",
        "hours": "24",
        "keep_days": "1",
        "output_order": "input",
        "metadata": "a = 1\r\nb = 2",
        "do": "check",
    }
    page = signed_in.post(address, given).content.decode()
    assert re.findall(r'is-changed" data-was="([^"]*)"', page) == ["Mails", "no"]
    assert "changed; was" in page

    r = signed_in.post(address, given | {"do": "create"})
    made = Batch.objects.exclude(pk=old.pk).get()
    assert r["Location"] == f"/batches/{made.public_id}/"
    assert (made.name, made.tags, made.dedupe) == ("Mails again", ["may", "x"], True)
