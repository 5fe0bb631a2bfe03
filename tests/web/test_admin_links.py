# SPDX-License-Identifier: Apache-2.0
"""Pages of the admin lead to what belongs to them, and to the site's own pages."""

from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.test import Client
from django.urls import reverse

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import create_api_key
from jobs.models import Batch, BatchRequest, Engine, Result, SavedView
from tests.conftest import MakeBatch, MakeFile
from tests.jobs.webhook_rows import make_delivery, make_endpoint
from tests.web import rows

LINK = re.compile(r'<nav class="related".*?</nav>', re.DOTALL)
HREF = re.compile(r'href="([^"]+)"')
ON_SITE = re.compile(r'href="([^"]+)" class="viewsitelink"')


@pytest.fixture
def admin(client: Client, staff: User) -> Client:
    client.force_login(staff)
    return client


@pytest.fixture
def everything(
    make_batch: MakeBatch, make_file: MakeFile, team: Team, owner: User
) -> Batch:
    """A row in most tables."""
    parent = make_batch()
    batch = rows.running(make_batch, parent=parent, name="‮evil\x07")
    rows.answer(
        batch, [rows.chat("yes").replace("yes", "y\x07es")], failed=[rows.CONTEXT_ERROR]
    )
    rows.sampled(batch, rows.managed(), minutes=1)
    rows.control_worker()
    create_api_key(team=team, user=owner, name="nightly")
    make_file()
    delivery = make_delivery(make_endpoint(team), state="delivered")
    delivery.attempts.create(status_code=200)
    batch.events.create(kind="status", new_status="in_progress")
    SavedView.objects.create(user=owner, name="late", query="status=failed")
    return batch


def test_all_links_of_all_pages_lead_somewhere(
    admin: Client, everything: Batch
) -> None:
    seen = set()
    for label in ("accounts", "jobs"):
        for model in apps.get_app_config(label).get_models():
            row = model._default_manager.order_by("-pk").first()
            if row is None:
                continue
            name = f"admin:{label}_{model._meta.model_name}_change"
            page = admin.get(reverse(name, args=[row.pk])).content.decode()
            nav = LINK.search(page)
            found = HREF.findall(nav[0]) if nav else []
            for address in [*found, *ON_SITE.findall(page)]:
                path = address.replace("&amp;", "&")
                r = admin.get(path)
                # A list that refuses its query leads to ?e=1.
                assert r.status_code == 200, (model, path, r.status_code)
                if r.streaming:
                    # A file is read to its end, which closes it.
                    r.getvalue()
                seen.add(path.split("?")[0])
    assert len(seen) > 25


def test_a_batch_leads_to_its_own_rows_alone(
    admin: Client, everything: Batch, make_batch: MakeBatch
) -> None:
    other = rows.running(make_batch)
    rows.answer(other, [rows.chat("no")])
    code = everything.public_id
    for table, count in (("batchrequest", 2), ("result", 2), ("batchevent", 1)):
        page = admin.get(f"/admin/jobs/{table}/", {"q": code}).content.decode()
        assert page.count('class="action-checkbox"') == 0
        assert page.count(f"/admin/jobs/{table}/") >= count
        assert f"{count} " in page
        assert other.public_id not in page
    children = {"parent__id__exact": str(everything.parent_id)}
    page = admin.get("/admin/jobs/batch/", children).content.decode()
    assert code in page
    assert other.public_id not in page


def test_a_result_shows_nothing_twice(admin: Client, everything: Batch) -> None:
    result = Result.objects.filter(outcome="completed").get()
    page = admin.get(f"/admin/jobs/result/{result.pk}/change/").content.decode()
    for words in ("attempts: ", "cached_tokens: "):
        assert page.count(words) == 1, words
    for words in ("Attempts", "Cached tokens"):
        assert words not in page
    # Answers are text of strangers.
    assert "y\N{REPLACEMENT CHARACTER}es" in page
    assert f'href="/batches/{everything.public_id}/results/{result.index}/"' in page


def test_a_row_is_found_by_batch_and_custom_id(
    admin: Client, everything: Batch
) -> None:
    q = f"{everything.public_id} row-1"
    for table in ("batchrequest", "result"):
        page = admin.get(f"/admin/jobs/{table}/", {"q": q}).content.decode()
        assert "row-1" in page
        assert "row-0" not in page
        # No such batch, and no such row: an empty list, no error.
        for nothing in ("batch_none", f"{everything.public_id} nowhere"):
            r = admin.get(f"/admin/jobs/{table}/", {"q": nothing})
            assert "row-" not in r.content.decode()


def test_what_is_gone_or_unanswered_has_no_page_on_the_site(
    admin: Client, everything: Batch
) -> None:
    asked = BatchRequest.objects.create(
        batch=everything,
        index=9,
        line=10,
        custom_id="open",
        url=everything.endpoint,
        model="tiny",
        body="{}",
        run_order=9,
    )
    page = admin.get(f"/admin/jobs/batchrequest/{asked.pk}/change/").content.decode()
    assert "viewsitelink" not in page


def test_an_engine_leads_to_its_card(admin: Client, everything: Batch) -> None:
    engine = Engine.objects.get()
    page = admin.get(f"/admin/jobs/engine/{engine.pk}/change/").content.decode()
    assert f'href="/engines/#engine-{engine.pk}"' in page
    assert f'id="engine-{engine.pk}"' in admin.get("/engines/").content.decode()
