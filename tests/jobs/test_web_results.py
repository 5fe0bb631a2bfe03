# SPDX-License-Identifier: Apache-2.0
"""The results of a batch: the table and its filter, one row, the rows as a file."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from batchsite.accounts.models import AuditEvent, User
from jobs import result_search
from jobs.models import Batch, Result
from jobs.web import results
from tests.conftest import MakeBatch
from tests.web import rows

HTMX = {"hx-request": "true"}


@pytest.fixture
def batch(make_batch: MakeBatch) -> Batch:
    """Six answers, of which one was cut off and one is slow, and two failures."""
    batch = rows.running(make_batch, total=8)
    texts = ["red fox", "Blue whale", "caf\u00e9 au lait", "content", "blue", "end"]
    rows.answer(
        batch,
        [rows.chat(text) for text in texts],
        failed=[rows.CONTEXT_ERROR, '{"error": {"message": "blue screen"}}'],
    )
    Result.objects.filter(batch=batch, index=1).update(
        finish_reason="length", output_tokens=900, latency_ms=40_000
    )
    return batch


def shown(client: Client, batch: Batch, query: str = "") -> list[int]:
    """The numbers of the rows that a page lists, from 0."""
    page = client.get(f"/batches/{batch.public_id}/results/{query}").content.decode()
    return [int(n) for n in re.findall(r'id="row-(\d+)"', page)]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("?outcome=completed", [0, 1, 2, 3, 4, 5]),
        ("?outcome=failed", [6, 7]),
        ("?error=context_length_exceeded", [6]),
        ("?error=http_400", [7]),
        ("?error=nothing_of_the_kind", []),
        ("?finish=length", [1]),
        ("?finish=stop", [0, 2, 3, 4, 5]),
        ("?finish=length&outcome=failed", []),
        ("?tokens_min=100", [1]),
        ("?tokens_max=100&outcome=completed", [0, 2, 3, 4, 5]),
        ("?ms_min=30000&ms_max=50000", [1]),
        ("?q=blue", [1, 4, 7]),
        ("?q=blue&outcome=failed", [7]),
        # In the answer's text, not in the names of its JSON.
        ("?q=content", [3]),
        ("?q=caf%C3%A9", [2]),
        ("?q=row-4&in=ids", [4]),
        ("?q=ask+5&in=requests", [5]),
        ("?after=5", [6, 7]),
        ("?after=99999999999999999999", [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_the_address_filters(
    client: Client, owner: User, batch: Batch, query: str, wanted: list[int]
) -> None:
    client.force_login(owner)

    assert shown(client, batch, query) == wanted


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?tokens_min=many", "Enter a whole number."),
        ("?tokens_min=5&tokens_max=4", "It is below the 5 that it starts from."),
        ("?outcome=good", "not one of the available choices"),
        ("?q=%00", "Null characters are not allowed."),
        ("?in=nowhere", "not one of the available choices"),
    ],
)
def test_what_is_no_filter_is_said_at_its_field(
    client: Client, owner: User, batch: Batch, query: str, words: str
) -> None:
    client.force_login(owner)

    r = client.get(f"/batches/{batch.public_id}/results/{query}")
    file = client.get(f"/batches/{batch.public_id}/results/export/{query}")

    assert r.status_code == 200
    assert words in r.content.decode()
    assert shown(client, batch, query) == []
    assert file.status_code == 404


def test_pages_follow_each_other_with_the_filter(
    client: Client, owner: User, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "ROWS", 2)
    client.force_login(owner)

    first = client.get(f"/batches/{batch.public_id}/results/?q=blue").content.decode()

    (following,) = set(re.findall(r'href="(\?[^"]*after=[^"]*)"', first))
    assert following == "?q=blue&amp;after=4#results"
    assert shown(client, batch, "?q=blue&after=4") == [7]


def test_a_long_search_says_how_far_it_came(
    client: Client, owner: User, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_search, "FIRST_STEP", 2)
    found = result_search.search(
        batch, result_search.ResultFilter(words="blue"), limit=50, most=4
    )
    assert [row.index for row in found.rows] == [1]
    assert (found.reached, found.ended) == (3, False)
    monkeypatch.setattr(result_search, "MOST_ROWS", 4)
    client.force_login(owner)

    page = client.get(f"/batches/{batch.public_id}/results/?q=blue").content.decode()

    assert "Searched rows 1 to 4 of 8" in page
    assert "?q=blue&amp;after=3#results" in page


def test_counts_are_those_that_are_kept(
    client: Client, owner: User, batch: Batch
) -> None:
    client.force_login(owner)

    def count(query: str) -> list[str]:
        page = client.get(f"/batches/{batch.public_id}/results/{query}")
        head = page.content.decode().split('id="results-title">')[1].split("</h2>")[0]
        return re.findall(r'class="count">([^<]*)<', head)

    assert count("") == ["8"]
    assert count("?outcome=failed") == ["2"]
    assert count("?error=http_400") == ["1"]
    assert count("?finish=length") == ["1"]
    assert count("?q=blue") == []


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ("", "<strong>bold</strong>"),
        ("raw", "**bold** &lt;script&gt;alert(1)&lt;/script&gt;"),
        ("json", "&quot;choices&quot;"),
        ("request", "ask 8"),
        ("provenance", "row-8"),
    ],
)
def test_one_result_is_read_in_several_ways(
    client: Client, owner: User, batch: Batch, view: str, words: str
) -> None:
    hostile = "**bold** <script>alert(1)</script> ![x](https://a.example/x.png)"
    Batch.objects.filter(pk=batch.pk).update(total=9)
    rows.answer(batch, [rows.chat(f"{hostile} [y](javascript:alert(1))")])
    client.force_login(owner)
    address = f"/batches/{batch.public_id}/results/8/?view={view}"

    page = client.get(address).content.decode()
    drawer = client.get(address, headers=HTMX).content.decode()

    assert words in page
    assert words in drawer
    assert "<html" not in drawer
    assert "<script>alert" not in page
    assert "<img" not in drawer
    assert 'href="javascript' not in drawer


def test_the_reasons_of_a_failure_are_named(
    client: Client, owner: User, batch: Batch
) -> None:
    client.force_login(owner)

    page = client.get(f"/batches/{batch.public_id}/results/6/").content.decode()

    assert "context_length_exceeded" in page
    assert "The context is too long." in page


def test_who_may_read_a_result(
    client: Client, viewer: User, stranger: User, batch: Batch
) -> None:
    address = f"/batches/{batch.public_id}/results/"
    for path in (address, f"{address}0/", f"{address}export/"):
        client.logout()
        assert client.get(path)["Location"] == f"/login/?next={path}"
        client.force_login(stranger)
        assert client.get(path).status_code == 404
        client.force_login(viewer)
        assert client.get(path).status_code == 200
        assert client.post(path).status_code == 405
    # One that has no result yet.
    assert client.get(f"{address}99/").status_code == 404


def test_answers_of_another_batch_stand_beside(
    client: Client, owner: User, batch: Batch, make_batch: MakeBatch, stranger: User
) -> None:
    other = rows.running(make_batch, name="Other", total=3)
    rows.answer(other, [rows.chat("red fox"), rows.chat("Blue sky, blue sea")])
    foreign = rows.running(make_batch, team=stranger.memberships.get().team)
    client.force_login(owner)
    address = f"/batches/{batch.public_id}/results/"

    table = client.get(f"{address}?with={other.public_id}").content.decode()
    word_by_word = client.get(f"{address}1/?with={other.public_id}").content.decode()
    same = client.get(f"{address}0/?with={other.public_id}").content.decode()
    unknown = client.get(f"{address}?with={foreign.public_id}").content.decode()
    itself = client.get(f"{address}?with={batch.public_id}").content.decode()

    assert table.count("the same</span>") == 1
    assert table.count("differs</span>") == 1
    assert table.count("no answer there") == 6
    assert "<del>whale</del>" in word_by_word
    assert "<ins>sky, blue sea</ins>" in word_by_word
    assert "the same, word for word" in same
    assert "that you may see" in unknown
    assert "cannot be compared with itself" in itself


def test_what_is_filtered_comes_as_a_file(
    client: Client, owner: User, batch: Batch
) -> None:
    client.force_login(owner)
    address = f"/batches/{batch.public_id}/results/export/"

    lines = b"".join(client.get(f"{address}?q=blue"))
    table = client.get(f"{address}?outcome=failed&format=csv")
    other = client.get(f"{address}?format=xls")

    found = [json.loads(line) for line in lines.splitlines()]
    assert [one["custom_id"] for one in found] == ["row-1", "row-4", "row-7"]
    assert found[2]["response"]["status_code"] == 400
    text = b"".join(table).decode("utf-8-sig")
    cells = list(csv.DictReader(io.StringIO(text)))
    assert [row["error"] for row in cells] == [
        "The context is too long.",
        "blue screen",
    ]
    assert "attachment" in table["Content-Disposition"]
    assert other.status_code == 404
    actions = AuditEvent.objects.values_list("action", flat=True)
    assert {"batch.results_jsonl", "batch.results_csv"} <= set(actions)


def test_a_page_takes_few_queries(client: Client, owner: User, batch: Batch) -> None:
    Batch.objects.filter(pk=batch.pk).update(
        status="completed", closing_reason="done", closed_at=batch.in_progress_at
    )
    client.force_login(owner)

    for query in ("", "?q=blue", "?error=http_400", "?after=5&outcome=failed"):
        with CaptureQueriesContext(connection) as captured:
            client.get(f"/batches/{batch.public_id}/results/{query}")
        # One is whether somebody reviews answers of the batch.
        assert len(captured) <= 14, query


@pytest.mark.parametrize(("view", "most"), [("rendered", 20_000), ("raw", 60_000)])
def test_a_long_answer_is_cut_where_its_view_can_bear_it(
    client: Client, owner: User, make_batch: MakeBatch, view: str, most: int
) -> None:
    batch = rows.running(make_batch)
    # Made for readers of Markdown: each bracket may begin a link.
    rows.answer(batch, [rows.chat("[" * 100_001), rows.chat("[" * 20_000)])
    client.force_login(owner)
    address = f"/batches/{batch.public_id}/results/"

    long = client.get(f"{address}0/?view={view}", headers=HTMX).content.decode()
    short = client.get(f"{address}1/?view={view}", headers=HTMX).content.decode()

    assert f"The first {most:,} characters" in long
    assert "[" * most in long
    assert "[" * (most + 1) not in long
    assert "The first" not in short
    assert "[" * 20_000 in short
