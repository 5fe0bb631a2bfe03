# SPDX-License-Identifier: Apache-2.0
"""New batch from a table: its columns, a prompt tried on its rows, the batch file."""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta
from typing import Any

import pyarrow
import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone
from pyarrow import parquet

from batchsite.accounts.models import Team, User
from jobs.models import BatchFile, ServedModel
from tests.conftest import MakeFile

TABLE = b'id,city,note\na,Bonn,"<b>, {x}"\nb,,\nc,Rome,ok\nc,Oslo,\n'
GIVEN = {"prompt": "Tell me of {city}.", "model": "tiny"}


@pytest.fixture(autouse=True)
def tiny(db: None) -> ServedModel:
    return ServedModel.objects.create(name="tiny", source="/m")


@pytest.fixture
def signed_in(client: Client, teammate: User) -> Client:
    client.force_login(teammate)
    return client


def table(make_file: MakeFile, content: bytes = TABLE, **over: Any) -> BatchFile:
    columns = {"filename": "cities.csv", "purpose": "user_data"}
    return make_file(content, **columns | over)


def address_of(file: BatchFile) -> str:
    return f"/batches/new/tables/{file.public_id}/"


def lines_of(file: BatchFile) -> list[dict[str, Any]]:
    with default_storage.open(file.storage_name) as stored:
        return [json.loads(line) for line in stored]


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_columns_are_shown_with_values(signed_in: Client, make_file: MakeFile) -> None:
    page = signed_in.get(address_of(table(make_file))).content.decode()

    assert re.findall(r'<dt><code class="hostile">(\w+)', page) == [
        "id",
        "city",
        "note",
    ]
    assert "&lt;b&gt;, {x}" in page
    assert '<option value="city">city</option>' in page


def test_the_page_says_when_the_table_goes(
    signed_in: Client, make_file: MakeFile
) -> None:
    ends = timezone.now() + timedelta(hours=23, minutes=30)
    page = signed_in.get(address_of(table(make_file, expires_at=ends))).content.decode()
    assert "· goes in 23 h" in words(page)


def test_a_table_of_typed_values_is_shown_and_asked_as_text(
    signed_in: Client, make_file: MakeFile
) -> None:
    out = io.BytesIO()
    columns = {"n": [1.5, None], "tags": [["a", "ü"], []], "on": [True, False]}
    parquet.write_table(pyarrow.table(columns), out)
    file = table(make_file, out.getvalue(), filename="a.parquet")

    page = signed_in.get(address_of(file)).content.decode()
    assert "[&quot;a&quot;, &quot;ü&quot;]" in page
    given = GIVEN | {"prompt": "{n} {tags} {on}", "do": "preview"}
    said = words(signed_in.post(address_of(file), given).content.decode())
    assert "1 of 2 rows become requests" in said
    assert "user 1.5 [&quot;a&quot;, &quot;ü&quot;] true" in said
    assert "row 3 The column &#x27;n&#x27; is empty." in said


def test_a_prompt_is_tried_on_the_rows(signed_in: Client, make_file: MakeFile) -> None:
    given = GIVEN | {"system": "Be brief.", "id_column": "id", "do": "preview"}

    page = signed_in.post(address_of(table(make_file)), given).content.decode()

    said = words(page)
    assert "2 of 4 rows become requests" in said
    assert "row 3 The column &#x27;city&#x27; is empty." in said
    assert "row 5 The column “id” has a value that an earlier row has too" in said
    assert "row 2 · a system Be brief. user Tell me of Bonn." in said
    assert BatchFile.objects.count() == 1


def test_good_rows_become_a_batch_file_once(
    signed_in: Client, make_file: MakeFile, teammate: User
) -> None:
    file = table(make_file)
    given = GIVEN | {
        "prompt": "{city} {{x}}",
        "max_tokens": "9",
        "temperature": "0",
        "skip": "on",
        "do": "make",
    }

    r = signed_in.post(address_of(file), given)
    again = signed_in.post(address_of(file), given)

    made = BatchFile.objects.get(purpose="batch")
    assert r["Location"] == again["Location"] == f"/batches/new/files/{made.public_id}/"
    assert (made.filename, made.created_by, made.lines) == ("cities.jsonl", teammate, 3)
    lines = lines_of(made)
    assert [line["custom_id"] for line in lines] == ["row-2", "row-4", "row-5"]
    assert lines[0]["body"] == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Bonn {x}"}],
        "max_tokens": 9,
        "temperature": 0.0,
    }
    # What was made passes the check.
    assert "Every line is good" in signed_in.get(r["Location"]).content.decode()


def test_bad_rows_are_left_out_only_if_asked(
    signed_in: Client, make_file: MakeFile
) -> None:
    r = signed_in.post(address_of(table(make_file)), GIVEN | {"do": "make"})

    page = r.content.decode()
    after = page[page.index('name="skip"') :]
    assert "1 of 4 rows have problems" in after[: after.index("</ul>")]
    assert not BatchFile.objects.filter(purpose="batch").exists()


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"prompt": ""}, "prompt", "Write what each row is asked"),
        ({"prompt": "Hello"}, "prompt", "names no column"),
        ({"prompt": "{town}"}, "prompt", "no column “town”"),
        ({"system": "{town}"}, "system", "no column “town”"),
        ({"model": "none"}, "model", "valid choice"),
        ({"max_tokens": "0"}, "max_tokens", "greater than or equal to 1"),
        ({"temperature": "nan"}, "temperature", "Enter a number"),
        ({"id_column": "none"}, "id_column", "valid choice"),
    ],
)
def test_refusals_are_said_at_the_field(
    signed_in: Client, make_file: MakeFile, given: dict[str, str], field: str, said: str
) -> None:
    r = signed_in.post(address_of(table(make_file)), GIVEN | given)

    page = r.content.decode()
    after = page[page.index(f'name="{field}"') :]
    assert said in after[: after.index("</ul>")]
    assert not BatchFile.objects.filter(purpose="batch").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\nü\n".encode("latin-1"), "CSV UTF-8"),
        (b"", "The file is empty"),
        (b"a,a\n", "Two columns are called"),
    ],
)
def test_a_table_that_cannot_be_read_says_what_to_do(
    signed_in: Client, make_file: MakeFile, content: bytes, said: str
) -> None:
    page = signed_in.get(address_of(table(make_file, content))).content.decode()
    assert "This table cannot be read" in page
    assert said in page


def test_a_late_fault_of_the_table_is_said_too(
    signed_in: Client, make_file: MakeFile
) -> None:
    file = table(make_file, b"city\n" + b"Bonn\n" * 20 + b"\xff\n")
    for do in ("preview", "make"):
        r = signed_in.post(address_of(file), GIVEN | {"do": do})
        assert "Line 22 is not UTF-8 text" in r.content.decode()
    assert not BatchFile.objects.filter(purpose="batch").exists()


def test_the_teams_limits_hold(
    signed_in: Client, make_file: MakeFile, team: Team
) -> None:
    file = table(make_file, b"city\n" + b"Bonn\n" * 20)
    team.max_requests = 19
    team.save(update_fields=["max_requests"])
    r = signed_in.post(address_of(file), GIVEN | {"do": "make"})
    assert "more than 19 rows" in r.content.decode()

    team.max_requests, team.max_file_bytes = None, 1000
    team.save(update_fields=["max_requests", "max_file_bytes"])
    r = signed_in.post(address_of(file), GIVEN | {"do": "make"})
    assert "more than 1,000 bytes" in r.content.decode()
    assert not BatchFile.objects.filter(purpose="batch").exists()


def test_a_table_without_rows_makes_nothing(
    signed_in: Client, make_file: MakeFile
) -> None:
    file = table(make_file, b"city\n")
    assert (
        "no rows below its heading" in signed_in.get(address_of(file)).content.decode()
    )
    r = signed_in.post(address_of(file), GIVEN | {"do": "make"})
    assert "No row of the table becomes a request" in r.content.decode()


def test_who_may(
    client: Client, viewer: User, stranger: User, owner: User, make_file: MakeFile
) -> None:
    file = table(make_file)
    address = address_of(file)
    assert client.post(address, GIVEN)["Location"] == f"/login/?next={address}"
    for user, status in ((stranger, 404), (viewer, 403)):
        client.force_login(user)
        assert client.get(address).status_code == status
        assert client.post(address, GIVEN).status_code == status
    client.force_login(owner)
    assert client.put(address).status_code == 405
    assert client.get(address_of(make_file(filename="a.jsonl"))).status_code == 404
    assert not BatchFile.objects.filter(filename="cities.jsonl").exists()
