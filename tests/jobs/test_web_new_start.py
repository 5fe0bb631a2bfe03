# SPDX-License-Identifier: Apache-2.0
"""New batch, first step: who may, whose it is, and what file comes."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import ensure_member
from jobs.models import BatchFile
from tests.inputs import chat_lines

NEW = "/batches/new/"


def a_file(name: str = "a.jsonl", content: bytes = b"") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content or chat_lines(2))


def test_a_file_is_stored_once_and_checked_next(
    client: Client, teammate: User, team: Team
) -> None:
    client.force_login(teammate)

    r = client.post(NEW, {"team": team.pk, "file": a_file()})
    again = client.post(NEW, {"team": team.pk, "file": a_file()})

    file = BatchFile.objects.get()
    assert r["Location"] == again["Location"] == f"/batches/new/files/{file.public_id}/"
    assert (file.team, file.created_by, file.purpose) == (team, teammate, "batch")
    assert (file.filename, file.lines) == ("a.jsonl", 2)


def test_pasted_lines_are_a_file(client: Client, teammate: User, team: Team) -> None:
    client.force_login(teammate)
    text = chat_lines(2).decode().replace("\n", "\r\n")

    r = client.post(NEW, {"team": team.pk, "text": text})

    file = BatchFile.objects.get()
    assert r["Location"] == f"/batches/new/files/{file.public_id}/"
    assert (file.bytes, file.lines) == (len(chat_lines(2)), 2)


def test_a_table_goes_to_its_prompt_and_does_not_stay(
    client: Client, teammate: User, team: Team
) -> None:
    client.force_login(teammate)

    r = client.post(NEW, {"team": team.pk, "file": a_file("A.CSV", b"a,b\n1,2\n")})

    file = BatchFile.objects.get()
    assert r["Location"] == f"/batches/new/tables/{file.public_id}/"
    assert file.purpose == "user_data"
    assert file.expires_at is not None
    assert (file.expires_at - file.created_at).total_seconds() == 86_400


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({}, "file", "Choose a file, or paste"),
        ({"file": ("a.txt", b"x")}, "file", "ends in .jsonl, .csv"),
        ({"file": ("a.jsonl", b"\n{")}, "file", "line 2 is not valid JSON"),
        ({"file": ("a.jsonl", b"\xff\n")}, "file", "is not UTF-8"),
        ({"text": "no json"}, "text", "line 1 is not valid JSON"),
        ({"text": "x" * 250_001}, "text", "as a file"),
    ],
)
def test_what_is_refused_is_said_at_the_field(
    client: Client,
    teammate: User,
    team: Team,
    given: dict[str, object],
    field: str,
    words: str,
) -> None:
    client.force_login(teammate)
    if isinstance(named := given.get("file"), tuple):
        given = {"file": SimpleUploadedFile(*named)}

    r = client.post(NEW, {"team": team.pk, **given})

    page = r.content.decode()
    after = page[page.index(f'name="{field}"') :]
    assert words in after[: after.index("</ul>")]
    assert not BatchFile.objects.exists()


def test_the_teams_limit_is_said_before_and_after(
    client: Client, teammate: User, team: Team
) -> None:
    team.max_file_bytes = 100
    team.save(update_fields=["max_file_bytes"])
    client.force_login(teammate)

    assert "Up to 100 bytes" in client.get(NEW).content.decode()
    r = client.post(NEW, {"team": team.pk, "file": a_file()})

    assert "File is too large" in r.content.decode()
    assert not BatchFile.objects.exists()


def test_of_several_teams_one_is_chosen(
    client: Client, teammate: User, team: Team, other_team: Team
) -> None:
    ensure_member(team_name="Red", email=teammate.email, role="viewer")
    client.force_login(teammate)
    assert "start_team" not in client.get(NEW).content.decode()

    ensure_member(team_name=other_team.name, email=teammate.email, role="member")
    page = client.get(f"{NEW}?team={other_team.pk}").content.decode()
    assert f'<option value="{other_team.pk}" selected>Green</option>' in page
    # Where one only reads, one does not submit.
    assert "Red" not in page
    red = Team.objects.get(name="Red")
    r = client.post(NEW, {"team": red.pk, "file": a_file()})
    assert "Choose a team in which you may submit." in r.content.decode()


def test_who_may(
    client: Client, viewer: User, stranger: User, team: Team, db: None
) -> None:
    assert client.get(NEW)["Location"] == f"/login/?next={NEW}"
    assert client.post(NEW)["Location"] == f"/login/?next={NEW}"
    client.force_login(viewer)
    r = client.get(NEW)
    assert r.status_code == 403
    assert "Ask an owner for the role" in r.content.decode()
    assert client.post(NEW, {"team": team.pk, "file": a_file()}).status_code == 403
    client.force_login(User.objects.create_user("alone@example.com"))
    assert "You are in no team yet" in client.get(NEW).content.decode()
    client.force_login(stranger)
    client.post(NEW, {"team": team.pk, "file": a_file()})
    assert client.put(NEW).status_code == 405
    assert not BatchFile.objects.exists()


def test_the_list_of_batches_leads_there_or_says_why_not(
    client: Client, viewer: User, teammate: User
) -> None:
    client.force_login(teammate)
    button = f'class="button button-main" href="{NEW}"'
    page = client.get("/batches/").content.decode()
    assert button in page
    # On every page by a key.
    assert f'href="{NEW}" data-key="n"' in page
    client.force_login(viewer)
    page = client.get("/batches/").content.decode()
    assert button not in page
    assert "Viewers of a team only read. Ask an owner" in page
