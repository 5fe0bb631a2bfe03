# SPDX-License-Identifier: Apache-2.0
"""One action on several batches, and saved views of the list."""

from __future__ import annotations

import pytest
from django.test import Client

from batchsite.accounts.models import User
from jobs.models import Batch, BatchRequest, SavedView
from tests.conftest import MakeBatch
from tests.web import rows

BULK = "/batches/bulk/"


def send(client: Client, do: str, *batches: Batch, **more: str) -> str:
    """The page after the action."""
    codes = [batch.public_id for batch in batches]
    given = {"do": do, "batch": codes, **more}
    return client.post(BULK, given, follow=True).content.decode()


@pytest.fixture
def running(make_batch: MakeBatch) -> list[Batch]:
    return [rows.running(make_batch, name=name) for name in ("one", "two")]


def test_several_are_paused_and_resumed(
    client: Client, owner: User, running: list[Batch], make_batch: MakeBatch
) -> None:
    ended = make_batch(name="ended", status="completed")
    client.force_login(owner)

    page = send(client, "pause", *running, ended)

    assert Batch.objects.filter(paused=True).count() == 2
    assert "2 batches are paused." in page
    assert "1 left as it was" in page
    send(client, "resume", *running)
    assert not Batch.objects.filter(paused=True).exists()


def test_cancelling_is_asked_about_first(
    client: Client, owner: User, running: list[Batch]
) -> None:
    client.force_login(owner)

    asked = send(client, "cancel", *running)

    assert "Cancel 2 batches?" in asked
    assert not Batch.objects.filter(status="cancelling").exists()
    page = send(client, "cancel", *running, sure="yes")
    assert Batch.objects.filter(status="cancelling").count() == 2
    # A second time there is nothing to do, and nothing to complain of.
    assert "2 batches are being cancelled." in page
    assert "2 batches are" in send(client, "cancel", *running, sure="yes")


def test_a_tag_is_added(client: Client, owner: User, running: list[Batch]) -> None:
    client.force_login(owner)

    assert 'name="tag"' in send(client, "tag", *running)
    send(client, "tag", *running, sure="yes", tag=" weekly ")
    send(client, "tag", running[0], sure="yes", tag="weekly")
    refused = send(client, "tag", *running, sure="yes", tag=" ")

    assert [b.tags for b in Batch.objects.order_by("pk")] == [["weekly"], ["weekly"]]
    assert "Write a tag" in refused


def test_failed_rows_of_several_run_again(
    client: Client, owner: User, running: list[Batch]
) -> None:
    first = running[0]
    rows.answer(first, [rows.chat("yes")], failed=[rows.CONTEXT_ERROR] * 2)
    BatchRequest.objects.update(body='{"model": "tiny", "messages": []}')
    Batch.objects.filter(pk=first.pk).update(
        status="completed",
        closing_reason="done",
        total=3,
        closed_at=first.in_progress_at,
    )
    client.force_login(owner)

    page = send(client, "retry", *running, sure="yes")

    assert Batch.objects.filter(parent=first).count() == 1
    assert "1 left as it was: no request of an ended batch failed" in page


def test_who_may_and_what_is_no_choice(
    client: Client, viewer: User, stranger: User, owner: User, running: list[Batch]
) -> None:
    client.force_login(stranger)
    assert "Choose at least one batch" in send(client, "pause", *running)
    client.force_login(viewer)
    assert "Viewers of a team only read." in send(client, "pause", *running)
    assert "with the chosen" not in client.get("/batches/").content.decode()
    client.force_login(owner)
    assert "with the chosen" in client.get("/batches/").content.decode()
    for do in ("", "delete", "pause"):
        assert "Choose at least one batch" in send(client, do)
    assert client.get(BULK).status_code in (404, 405)
    assert not Batch.objects.filter(paused=True).exists()


def test_a_view_is_saved_shown_and_forgotten(
    client: Client, owner: User, teammate: User, running: list[Batch]
) -> None:
    client.force_login(owner)
    given = {"name": "Mine <b>", "query": "owner=me&status=active&page=7&status=x"}

    r = client.post("/batches/views/save/", given, follow=True)

    view = SavedView.objects.get()
    assert view.query == "owner=me"
    page = r.content.decode()
    assert (
        '<a class="hostile" href="?owner=me" aria-current="true">Mine &lt;b&gt;</a>'
        in page
    )
    client.force_login(teammate)
    assert "Mine" not in client.get("/batches/").content.decode()
    assert client.post(f"/batches/views/{view.pk}/delete/").status_code == 404
    client.force_login(owner)
    client.post(f"/batches/views/{view.pk}/delete/")
    assert not SavedView.objects.exists()


@pytest.mark.parametrize(
    "given", [{"name": "x"}, {"query": "owner=me"}, {"name": "\0", "query": "owner=me"}]
)
def test_a_view_without_name_or_filter_is_refused(
    client: Client, owner: User, running: list[Batch], given: dict[str, str]
) -> None:
    client.force_login(owner)

    r = client.post("/batches/views/save/", given, follow=True)

    assert "A view needs a name" in r.content.decode()
    assert not SavedView.objects.exists()
