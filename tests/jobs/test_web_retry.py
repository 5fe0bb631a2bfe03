# SPDX-License-Identifier: Apache-2.0
"""Running failed requests once more from the batch's page."""

from __future__ import annotations

import json
import re

import pytest
from django.core.files.storage import default_storage
from django.test import Client

from batchsite.accounts.models import User
from jobs.models import Batch, BatchRequest, ServedModel
from tests.conftest import MakeBatch
from tests.web import rows

BODY = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def ended(make_batch: MakeBatch) -> Batch:
    """A completed batch with one answer and two failed requests."""
    batch = rows.running(make_batch, name="Mails", total=3, tags=["may"])
    rows.answer(batch, [rows.chat("yes")], failed=[rows.CONTEXT_ERROR] * 2)
    BatchRequest.objects.filter(batch=batch).update(body=json.dumps(BODY))
    started = batch.in_progress_at
    Batch.objects.filter(pk=batch.pk).update(
        status="completed",
        closing_reason="done",
        closed_at=started,
        completed_at=started,
    )
    batch.refresh_from_db()
    ServedModel.objects.create(name="large", source="/m")
    return batch


def address_of(batch: Batch) -> str:
    return f"/batches/{batch.public_id}/"


def token_in(html: str) -> str:
    """The token of the form on the page."""
    found = re.search(r'name="token" value="([0-9a-f]{32})"', html)
    assert found
    return found[1]


def test_failed_rows_run_again_as_they_are_told(
    client: Client, teammate: User, ended: Batch
) -> None:
    client.force_login(teammate)
    given = {
        "token": token_in(client.get(f"{address_of(ended)}retry/").content.decode()),
        "model": "large",
        "system_prompt": "Be brief.",
        "body": '{"max_tokens": 400}',
    }

    r = client.post(f"{address_of(ended)}retry/", given, follow=True)
    again = client.post(f"{address_of(ended)}retry/", given)

    child = Batch.objects.get(parent=ended)
    assert r.redirect_chain == [(address_of(child), 302)]
    # The same form sent twice is one batch.
    assert again["Location"] == address_of(child)
    assert (child.name, child.tags, child.owner) == ("Mails", ["may"], teammate)
    page = r.content.decode()
    assert "2 requests of “Mails” run once more, in this batch" in page
    assert f'href="{address_of(ended)}">Mails</a>' in page
    assert child.input_file is not None
    with default_storage.open(child.input_file.storage_name) as lines:
        line = json.loads(lines.readline())
    assert line["custom_id"] == "row-1"
    assert (line["body"]["model"], line["body"]["max_tokens"]) == ("large", 400)
    assert line["body"]["messages"][0]["content"] == "Be brief."
    parent = client.get(address_of(ended)).content.decode()
    assert f'href="{address_of(child)}">Mails</a>' in parent


@pytest.mark.parametrize(
    "body",
    ["{", "[1]", '{"a": NaN}', r'{"a": "\ud800"}', r'{"a": "\u0000"}', "[" * 9999],
)
def test_a_body_that_is_no_json_object_is_refused_beside_its_field(
    client: Client, owner: User, ended: Batch, body: str
) -> None:
    client.force_login(owner)

    r = client.post(
        f"{address_of(ended)}retry/", {"body": body, "system_prompt": "Kept."}
    )

    page = r.content.decode()
    field = page[page.index('name="body"') :]
    assert "Write one JSON object" in field[: field.index("</ul>")]
    assert "the 2 failed requests" in page
    assert "Kept." in page
    assert not Batch.objects.filter(parent=ended).exists()


def test_a_form_with_other_values_is_not_taken_for_the_same(
    client: Client, owner: User, ended: Batch
) -> None:
    client.force_login(owner)
    given = {"token": "0" * 32}
    client.post(f"{address_of(ended)}retry/", given)

    r = client.post(f"{address_of(ended)}retry/", given | {"model": "large"})

    assert "sent already, with other values" in r.content.decode()
    assert Batch.objects.filter(parent=ended).count() == 1


def test_who_may_retry_and_when(
    client: Client, viewer: User, stranger: User, owner: User, ended: Batch,
    make_batch: MakeBatch,
) -> None:  # fmt: skip
    address = f"{address_of(ended)}retry/"
    assert client.post(address)["Location"] == f"/login/?next={address}"
    client.force_login(stranger)
    assert client.post(address).status_code == 404
    client.force_login(viewer)
    assert client.post(address).status_code == 403
    assert client.get(address).status_code == 403
    assert "Retry failed" not in client.get(address_of(ended)).content.decode()
    client.force_login(owner)
    assert "Retry failed" in client.get(address_of(ended)).content.decode()
    runs = rows.running(make_batch)
    for send in (client.post, client.get):
        r = send(f"{address_of(runs)}retry/", follow=True)
        assert "Nothing to run again" in r.content.decode()
        assert "retry-form" not in r.content.decode()
    assert not Batch.objects.filter(parent__isnull=False).exists()


def test_what_the_retry_itself_refuses_is_said_in_the_form(
    client: Client, owner: User, ended: Batch
) -> None:
    team = ended.team
    team.max_batches_per_hour = 0
    team.save(update_fields=["max_batches_per_hour"])
    client.force_login(owner)

    r = client.post(f"{address_of(ended)}retry/", {"system_prompt": "Kept."})

    page = r.content.decode()
    assert 'role="alert"' in page
    assert "Kept." in page
    assert not Batch.objects.filter(parent=ended).exists()


@pytest.mark.parametrize(
    ("query", "words", "ids"),
    [
        ("row=0&row=2", "2 chosen requests", ["row-0", "row-2"]),
        ("outcome=completed", "all requests that the filter leaves", ["row-0"]),
        (
            "error=context_length_exceeded",
            "the requests that failed with context_length_exceeded",
            ["row-1", "row-2"],
        ),
    ],
)
def test_chosen_rows_run_again(
    client: Client, owner: User, ended: Batch, query: str, words: str, ids: list[str]
) -> None:
    BatchRequest.objects.filter(batch=ended).update(body=json.dumps(BODY))
    client.force_login(owner)
    shown = client.get(f"{address_of(ended)}retry/?{query}").content.decode()

    client.post(f"{address_of(ended)}retry/", {"rows": query})

    assert words in shown
    assert f'name="rows" value="{query.replace("&", "&amp;")}"' in shown
    child = Batch.objects.get(parent=ended)
    assert child.input_file is not None
    with default_storage.open(child.input_file.storage_name) as lines:
        assert [json.loads(line)["custom_id"] for line in lines] == ids


@pytest.mark.parametrize("query", ["row=x", "row=-1", "tokens_min=many"])
def test_rows_that_are_not_named_clearly_are_refused(
    client: Client, owner: User, ended: Batch, query: str
) -> None:
    client.force_login(owner)

    r = client.get(f"{address_of(ended)}retry/?{query}", follow=True)
    client.post(f"{address_of(ended)}retry/", {"rows": query})

    assert 'class="message' in r.content.decode()
    assert not Batch.objects.filter(parent=ended).exists()
