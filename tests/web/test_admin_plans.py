# SPDX-License-Identifier: Apache-2.0
"""Lists of the admin over tables that have many rows: by an index, never counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test import Client
from django.urls import get_resolver, reverse
from pytest_django.plugin import DjangoDbBlocker

from batchsite.accounts.admin_lists import Keyset
from batchsite.accounts.models import AuditEvent, User
from jobs.models import Batch, BatchRequest, Result
from tests.many_rows import Sizes, checked, ended_batches, fill, history, vacuum
from tests.query_plans import BIG, faults, queries

# Small chunks and long bodies: PostgreSQL reads a small table whole, and is right.
SIZES = Sizes(
    batches=60, rows=150, chunk=2, answered=0.8, copies=5, length=1500, engines=20
)
ENDED = 5_000
# As 10,000 are of a table of millions.
LOOKED_AT = 500
# What any list may ask: session, person, rows, what stands in its filters.
MOST_QUERIES = 12
NEXT = re.compile(r'href="(\?[^"]*)" rel="next"')

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def many_rows(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[list[Batch]]:
    """Committed, as a planner knows little of rows in an open transaction."""
    with django_db_blocker.unblock():
        try:
            with transaction.atomic():
                batches = fill(SIZES)
                ended_batches(batches[0].team, ENDED)
                history()
                for batch in batches:
                    checked(batch.pk)
                AuditEvent.objects.bulk_create(
                    AuditEvent(action=f"batch.{n}", team=batches[0].team)
                    for n in range(3_000)
                )
            if connection.vendor == "postgresql":
                vacuum()
            yield batches
        finally:
            call_command("flush", verbosity=0, interactive=False)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keyset, "looked_at", LOOKED_AT)


@pytest.fixture
def browser(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("staff@example.com"))
    return client


def lists() -> list[tuple[str, str]]:
    """The path of the list of each table that grows, with the table."""
    assert get_resolver().url_patterns
    return [
        (reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"), meta.db_table)
        for meta in (model._meta for model in admin.site._registry)
        if meta.db_table in BIG
    ]


def test_all_tables_that_grow_have_pages_by_key() -> None:
    assert len(lists()) == len(BIG)
    for model, page in admin.site._registry.items():
        if model._meta.db_table in BIG:
            assert isinstance(page, Keyset), model
            assert page.search_fields, model


@pytest.mark.usefixtures("looks")
def test_lists_find_their_rows_by_an_index(
    browser: Client, many_rows: list[Batch]
) -> None:
    code, team = many_rows[7].public_id, many_rows[0].team_id
    paths = [path for path, _ in lists()]
    asked: list[tuple[str, dict[str, str]]] = [(path, {}) for path in paths]
    asked += [(path, {"q": q}) for path in paths for q in ("nowhere", code)]
    asked += [
        ("/admin/jobs/result/", {"outcome": "failed"}),
        ("/admin/jobs/result/", {"outcome": "failed", "q": code}),
        ("/admin/jobs/result/", {"q": f"{code} request-3"}),
        ("/admin/jobs/result/", {"finish_reason": "length"}),
        ("/admin/jobs/batchrequest/", {"q": f"{code} request-3"}),
        ("/admin/jobs/batch/", {"status": "failed"}),
        ("/admin/jobs/batch/", {"team__id__exact": str(team)}),
        ("/admin/jobs/batchevent/", {"kind": "stalled"}),
        ("/admin/accounts/auditevent/", {"action": "engine"}),
    ]
    wrong = []
    for path, query in asked:
        with queries() as found:
            r = browser.get(path, query)
        assert r.status_code == 200, (path, query)
        assert len(found) <= MOST_QUERIES, (path, query, found)
        assert not any("COUNT(" in sql for sql, _ in found), (path, query)
        wrong += [(path, query, fault) for one in found for fault in faults(one)]
    assert not wrong, "\n".join(str(one) for one in wrong)


@pytest.mark.usefixtures("looks")
def test_pages_follow_each_other_without_gap_or_overlap(
    browser: Client, many_rows: list[Batch]
) -> None:
    batch = many_rows[3]
    results, code = Result.objects, {"q": batch.public_id}
    whole: tuple[tuple[str, QuerySet[Any], dict[str, str]], ...] = (
        ("/admin/jobs/result/", results.filter(batch=batch), code),
        (
            "/admin/jobs/batchrequest/",
            BatchRequest.objects.filter(batch=batch),
            code,
        ),
        (
            "/admin/jobs/result/",
            results.filter(outcome="failed"),
            {"outcome": "failed"},
        ),
    )
    for path, rows, query in whole:
        shown: list[int] = []
        page = browser.get(path, query).content.decode()
        while True:
            found = re.findall(rf'href="{path}(\d+)/change/', page)
            shown += [int(key) for key in found]
            following = NEXT.search(page)
            if following is None:
                break
            page = browser.get(
                path + following[1].replace("&amp;", "&")
            ).content.decode()
            assert "First page" in page
        assert len(shown) == len(set(shown)) == rows.count()
        order = "index" if "q" in query else "-pk"
        assert shown == list(rows.order_by(order).values_list("pk", flat=True))


@pytest.mark.usefixtures("looks")
def test_a_page_says_how_far_it_looked(browser: Client, many_rows: list[Batch]) -> None:
    page = browser.get("/admin/jobs/result/", {"q": "nowhere"}).content.decode()
    assert f"of {LOOKED_AT} rows that were looked at" in page
    assert NEXT.search(page)
    # A place that is none.
    for place in ("x", "-1", "9" * 30):
        r = browser.get("/admin/jobs/result/", {"behind": place})
        assert r.status_code == 302
        assert r.headers["Location"].endswith("?e=1")


def test_a_longer_list_asks_no_more_queries(
    browser: Client, many_rows: list[Batch]
) -> None:
    for path, _ in lists():
        asked = []
        for code in ("", many_rows[0].public_id):
            with queries() as found:
                browser.get(path, {"q": code} if code else {})
            asked.append(len(found))
        # The id of a batch is looked up on the way.
        assert max(asked) <= MOST_QUERIES, path
