# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from batchsite.accounts.models import Team, User
from jobs import standing
from jobs.models import Batch, ServedModel
from jobs.web import pages
from tests.conftest import MakeBatch
from tests.web import rows

HTMX = {"hx-request": "true"}


def titles(html: str) -> list[str]:
    """What the rows of the list are called, in their order."""
    return re.findall(r"data-row-link>([^<]*)</a>", html)


@pytest.fixture
def list_of_seven(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> list[Batch]:
    """Seven batches, pages of three."""
    monkeypatch.setattr(pages, "BATCHES", 3)
    return [make_batch(name=f"b{n}") for n in range(1, 8)]


def test_a_row_says_who_what_and_how_far(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(
        make_batch, name="CV parsing", total=50_000, completed=31_203, failed=37,
        result_seq=31_240,
    )  # fmt: skip
    client.force_login(owner)

    page = client.get("/batches/").content.decode()

    for words in (
        "CV parsing",
        f"/batches/{batch.public_id}/",
        "owner@example.com",
        "tiny",
        "31,240 of 50,000",
        "(37 failed)",
        "running",
        "41 min ago",
    ):
        assert words in page


def test_a_place_is_kept_when_its_batch_moves_and_is_none_for_others(
    client: Client, owner: User, stranger: User, list_of_seven: list[Batch]
) -> None:
    fourth = list_of_seven[3]
    Batch.objects.filter(pk=fourth.pk).update(
        status="cancelled",
        cancelled_at=fourth.created_at,
        closed_at=fourth.created_at,
        closing_reason="cancelled",
    )
    client.force_login(owner)
    active = f"/batches/?status=active&before={fourth.public_id}"
    assert titles(client.get(active).content.decode()) == ["b3", "b2", "b1"]

    theirs = Batch.objects.get(public_id=list_of_seven[0].public_id)
    theirs.pk, theirs.public_id, theirs.name = None, "batch_theirs", "theirs"
    theirs.team = stranger.memberships.get().team
    theirs.save()
    client.force_login(stranger)
    assert titles(client.get("/batches/").content.decode()) == ["theirs"]
    for code in (fourth.public_id, "batch_nobody"):
        for way in ("before", "after"):
            page = client.get(f"/batches/?{way}={code}").content.decode()
            assert titles(page) == []


def test_batches_of_other_teams_do_not_exist(
    client: Client, stranger: User, staff: User, make_batch: MakeBatch
) -> None:
    make_batch(name="ours")
    client.force_login(stranger)
    assert "ours" not in client.get("/batches/").content.decode()

    client.force_login(staff)
    assert titles(client.get("/batches/").content.decode()) == ["ours"]


def test_keyset_pages_lead_there_and_back(
    client: Client, owner: User, list_of_seven: list[Batch]
) -> None:
    client.force_login(owner)
    first = client.get("/batches/").content.decode()
    older = f"?before={list_of_seven[4].public_id}"
    second = client.get(f"/batches/{older}").content.decode()
    newer = f"?after={list_of_seven[3].public_id}"
    last = client.get(f"/batches/?before={list_of_seven[1].public_id}")

    assert titles(first) == ["b7", "b6", "b5"]
    assert f'href="{older}"' in first
    assert "after=" not in first
    assert titles(second) == ["b4", "b3", "b2"]
    assert f'href="{newer}"' in second
    assert titles(client.get(f"/batches/{newer}").content.decode()) == [
        "b7",
        "b6",
        "b5",
    ]
    assert titles(last.content.decode()) == ["b1"]
    assert "before=" not in re.sub(r'hx-get="[^"]*"', "", last.content.decode())


def test_a_new_batch_does_not_move_the_older_pages(
    client: Client, owner: User, list_of_seven: list[Batch], make_batch: MakeBatch
) -> None:
    client.force_login(owner)
    older = f"/batches/?before={list_of_seven[4].public_id}"
    before = titles(client.get(older).content.decode())
    make_batch(name="b8")

    assert titles(client.get(older).content.decode()) == before


def test_status_filter_is_in_the_address_and_kept_by_pages(
    client: Client, owner: User, list_of_seven: list[Batch], make_batch: MakeBatch
) -> None:
    make_batch(name="done", status=Batch.Status.COMPLETED)
    client.force_login(owner)

    active = client.get("/batches/?status=active").content.decode()
    completed = client.get("/batches/?status=completed").content.decode()
    none = client.get("/batches/?status=expired").content.decode()
    unknown = client.get("/batches/?status=<b>").content.decode()

    assert titles(active) == ["b7", "b6", "b5"]
    assert "?status=active&amp;before=" in active
    assert titles(completed) == ["done"]
    assert "No batches here" in none
    assert titles(unknown) == ["done", "b7", "b6"]
    assert "<b>" not in unknown


def test_an_empty_list_says_how_to_send_the_first_batch(
    client: Client, owner: User
) -> None:
    ServedModel.objects.create(name="smol", source="/m")
    client.force_login(owner)

    page = client.get("/batches/").content.decode()

    assert 'OpenAI(base_url="http://testserver/v1")' in page
    assert "curl http://testserver/v1/files" in page
    assert "&quot;smol&quot;" in page or '"smol"' in page


def test_a_poll_gets_the_rows_alone(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    make_batch(name="one")
    client.force_login(owner)

    r = client.get("/batches/", headers=HTMX)

    html = r.content.decode().strip()
    assert html.startswith('<div id="batch-rows"')
    assert "<html" not in html
    assert titles(html) == ["one"]
    # One address, two answers: a cache must not mix them up.
    assert "HX-Request" in r["Vary"]


def test_an_unchanged_list_is_not_sent_again(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    client.force_login(owner)
    etag = client.get("/batches/", headers=HTMX)["ETag"]

    same = client.get("/batches/", headers=HTMX | {"if-none-match": etag})
    rows.answer(batch, [rows.chat("yes")])
    changed = client.get("/batches/", headers=HTMX | {"if-none-match": etag})

    assert (same.status_code, same.content) == (304, b"")
    assert changed.status_code == 200
    assert "1 of 1,000" in changed.content.decode()


def test_polls_are_slower_when_nothing_is_active(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    client.force_login(owner)
    make_batch(status=Batch.Status.COMPLETED)
    quiet = client.get("/batches/").content.decode()
    make_batch()
    busy = client.get("/batches/").content.decode()

    assert 'hx-trigger="every 30s"' in quiet
    assert 'hx-trigger="every 5s"' in busy


def test_queries_do_not_grow_with_the_rows(
    client: Client,
    owner: User,
    make_batch: MakeBatch,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for n in range(12):
        rows.running(make_batch, name=f"b{n}")
    client.force_login(owner)

    # What the queue looks like is shared by all pages for a while.
    monkeypatch.setattr(standing, "LOOK_SECONDS", 3600.0)
    client.get("/batches/")
    # session, user, batches, a team to submit in, people, models, saved views; the
    # frame adds active batches, engines, control workers, webhooks
    with django_assert_num_queries(11):
        client.get("/batches/")
    # session, user, batches, role
    with django_assert_num_queries(4):
        client.get("/batches/", headers=HTMX)


def test_hostile_names_are_text(
    client: Client, owner: User, make_batch: MakeBatch, team: Team
) -> None:
    make_batch(name='<script>alert("x")</script>', model="<img src=x>")
    client.force_login(owner)

    page = client.get("/batches/").content.decode()

    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


def test_a_cancelled_batch_shows_what_was_answered(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    ended = timezone.now() - timedelta(hours=2)
    make_batch(
        status=Batch.Status.CANCELLED,
        completed=120,
        failed=180,
        created_at=ended - timedelta(minutes=95),
        cancelled_at=ended,
    )
    client.force_login(owner)

    page = client.get("/batches/").content.decode()

    assert "120 of 300 answered" in page
    assert "1 h 35 min" in page


def test_batches_are_found_by_tag(
    client: Client, owner: User, stranger: User, list_of_seven: list[Batch]
) -> None:
    tag = "May & <June> “ü”"
    Batch.objects.filter(name__in=["b1", "b2", "b3", "b5"]).update(tags=["a", tag])
    Batch.objects.filter(name="b6").update(tags=[f"{tag}x", "A", "May"])
    Batch.objects.filter(name="b7").update(tags=[tag])
    client.force_login(owner)
    address = f"/batches/?{urlencode({'tag': tag})}"

    first = client.get(address).content.decode()
    assert titles(first) == ["b7", "b5", "b3"]
    assert "May &amp; &lt;June&gt;" in first
    older = re.findall(r'href="(\?[^"]*before=[^"]*)"', first)
    second = client.get(f"/batches/{unescape(older[0])}").content.decode()
    assert titles(second) == ["b2", "b1"]
    both = client.get(f"{address}&status=active").content.decode()
    assert titles(both) == ["b7", "b5", "b3"]
    assert "status=active&amp;tag=May+%26" in first
    none = client.get(f"{address}&status=failed").content.decode()
    assert titles(none) == []
    assert titles(client.get("/batches/?tag=ma").content.decode()) == []
    for odd in ("%00", "%ff", "x" * 5000, "[]", "%22a%22"):
        r = client.get(f"/batches/?tag={odd}")
        assert (r.status_code, titles(r.content.decode())) == (200, [])
    chip = re.findall(r'class="tag hostile" href="([^"]*)"', first)
    assert titles(client.get(unescape(chip[0])).content.decode()) == titles(first)

    client.force_login(stranger)
    assert titles(client.get(address).content.decode()) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=alpha", ["alpha"]),
        ("q=ALPHA", ["alpha"]),
        ("q=batch_beta", ["beta"]),
        ("q=requests.jsonl", ["requests.jsonl"]),
        ("owner=me", ["requests.jsonl", "alpha"]),
        ("owner=teammate@example.com", ["beta"]),
        ("model=large", ["beta"]),
        ("model=large&owner=me", []),
        ("q=%00", []),
    ],
)
def test_the_filter_finds_by_name_owner_and_model(
    client: Client, owner: User, teammate: User, make_batch: MakeBatch, query: str,
    found: list[str],
) -> None:  # fmt: skip
    make_batch(name="alpha")
    make_batch(name="beta", owner=teammate, model="large", public_id="batch_beta")
    make_batch()
    client.force_login(owner)

    page = client.get(f"/batches/?{query}").content.decode()
    csv = b"".join(client.get(f"/batches/export/?{query}")).decode()

    wanted = sorted(found)
    assert sorted(titles(page)) == wanted
    assert (
        sorted(line.split(",")[1].strip('"') for line in csv.splitlines()[1:]) == wanted
    )
