# SPDX-License-Identifier: Apache-2.0
"""Deleting, restoring and removing batches in the browser."""

from __future__ import annotations

import pytest
from django.test import Client

from batchsite.accounts.models import User
from jobs import removal
from jobs.models import Batch
from jobs.web import deleted, overview, reading
from tests.conftest import MakeBatch
from tests.web import rows

pytestmark = pytest.mark.django_db
DELETED = "/batches/deleted/"


@pytest.fixture
def ended(make_batch: MakeBatch) -> Batch:
    return make_batch(name="nightly", status="completed")


@pytest.fixture
def signed_in(client: Client, owner: User) -> Client:
    client.force_login(owner)
    return client


def at(batch: Batch, what: str = "") -> str:
    return f"/batches/{batch.public_id}/{what}"


def post(client: Client, address: str, **data: object) -> str:
    """The page after the form."""
    return client.post(address, data, follow=True).content.decode()


def test_a_batch_is_deleted_restored_and_removed(
    signed_in: Client, ended: Batch
) -> None:
    page = post(signed_in, at(ended, "delete/"))
    assert "“nightly” is deleted. For 30 days it can be restored" in page
    assert at(ended) not in page
    told = signed_in.get(at(ended))
    assert told.status_code == 410
    assert b"This batch is deleted" in told.content
    assert signed_in.get(at(ended, "results/")).status_code == 404
    assert at(ended, "restore/") in signed_in.get(DELETED).content.decode()

    assert "The batch is back" in post(signed_in, at(ended, "restore/"))
    # The form of a second tab.
    assert post(signed_in, at(ended, "restore/"))
    assert ended.events.count() == 2

    assert signed_in.post(at(ended, "remove/")).status_code == 404
    post(signed_in, at(ended, "delete/"))
    assert "is being removed" in post(signed_in, at(ended, "remove/"))
    assert "Nothing is deleted" in signed_in.get(DELETED).content.decode()
    assert signed_in.post(at(ended, "restore/")).status_code == 404
    assert removal.run() == "0 deleted batches removed"
    Batch.objects.update(usage_open=False)
    assert removal.run() == "1 deleted batches removed"
    assert signed_in.get(at(ended)).status_code == 404


def test_a_large_one_is_deleted_by_its_name(
    signed_in: Client, ended: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    Batch.objects.update(total=2, completed=2, result_seq=2)
    monkeypatch.setattr(deleted, "TYPED_ABOVE", 1)
    assert 'name="name"' in signed_in.get(at(ended)).content.decode()
    for name in ("", "night", "Nightly"):
        page = post(signed_in, at(ended, "delete/"), name=name)
        assert "type its name or its id" in page
    page = post(
        signed_in, "/batches/bulk/", do="delete", batch=ended.public_id, sure="yes"
    )
    assert "it has 2 requests: delete it on its own page" in page
    assert Batch.objects.kept().exists()
    post(signed_in, at(ended, "delete/"), name=" nightly ")
    assert not Batch.objects.kept().exists()


def test_one_that_runs_says_what_to_do(
    signed_in: Client, make_batch: MakeBatch
) -> None:
    running = make_batch(status="in_progress", total=2)
    assert "delete-sheet" not in signed_in.get(at(running)).content.decode()
    assert "cancel it first" in post(signed_in, at(running, "delete/"))


def test_several_are_deleted_together(
    signed_in: Client, ended: Batch, make_batch: MakeBatch
) -> None:
    running = make_batch(status="in_progress", total=2)
    both = {"do": "delete", "batch": [ended.public_id, running.public_id]}
    asked = post(signed_in, "/batches/bulk/", **both)
    assert "Delete 2 batches?" in asked
    assert Batch.objects.kept().count() == 2
    page = post(signed_in, "/batches/bulk/", **both, sure="yes")
    assert "1 batch is deleted." in page
    assert "1 left as it was: Cannot delete a batch" in page


def test_a_viewer_sees_and_touches_nothing(
    client: Client, viewer: User, ended: Batch, owner: User
) -> None:
    client.force_login(viewer)
    assert "delete-sheet" not in client.get(at(ended)).content.decode()
    assert client.post(at(ended, "delete/")).status_code == 403
    removal.delete_batch(batch=ended, user=owner)
    for address in (DELETED, at(ended)):
        page = client.get(address).content.decode()
        assert "nightly" in page
        assert "restore/" not in page
    assert client.post(at(ended, "restore/")).status_code == 403
    assert client.post(at(ended, "remove/")).status_code == 403


def test_the_list_has_pages(
    signed_in: Client, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleted, "SHOWN", 2)
    made = [make_batch(name=f"number {n}", status="completed") for n in range(5)]
    for batch in made:
        removal.delete_batch(batch=batch, user=None)
    seen: list[str] = []
    address = DELETED
    while address:
        context = signed_in.get(address).context
        seen += [batch.name for batch, _ in context["rows"]]
        address = f"{DELETED}?before={context['older']}" if context["older"] else ""
    assert seen == [f"number {n}" for n in reversed(range(5))]


def test_home_counts_what_is_there(signed_in: Client, ended: Batch) -> None:
    def completed() -> int:
        tiles = signed_in.get("/").context["board"].tiles
        return sum(tile.number for tile in tiles if tile.word.startswith("completed"))

    assert completed() == 1
    post(signed_in, at(ended, "delete/"))
    assert completed() == 0


def test_other_pages_do_not_lead_to_it(
    signed_in: Client, ended: Batch, make_batch: MakeBatch, owner: User
) -> None:
    child = make_batch(name="grandchild", status="in_progress", total=2, parent=ended)
    rows.answer(child, [rows.chat("yes")], failed=[rows.CONTEXT_ERROR])
    Batch.objects.filter(pk=child.pk).update(
        status="completed", closing_reason="done", closed_at=child.created_at
    )

    def seen() -> tuple[int, int, bool]:
        page = signed_in.get(at(ended))
        return (
            len(overview.failures(overview.teams_of(owner))),
            len(reading.candidates(ended)),
            "grandchild" in page.content.decode(),
        )

    assert seen() == (1, 1, True)
    removal.delete_batch(batch=child, user=owner)
    assert seen() == (0, 0, False)
