# SPDX-License-Identifier: Apache-2.0
"""The first page: counts, what runs and waits, throughput, failures, engines, storage."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from batchsite.accounts.models import User
from jobs import standing
from jobs.models import Batch, FailureCount, ThroughputSample
from jobs.web import overview, throughput
from tests.conftest import MakeBatch, MakeFile
from tests.web import rows

HTMX = {"hx-request": "true"}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look at the queue, and no sum of files, from another test."""
    monkeypatch.setattr(standing, "_newest", None)
    cache.clear()


@pytest.fixture
def busy(make_batch: MakeBatch) -> dict[str, Batch]:
    """A batch that runs, two that wait, and some that ended."""
    engine = rows.managed()
    rows.control_worker()
    runs = rows.running(make_batch, name="Runs")
    rows.answer(runs, [rows.chat("yes")] * 30, failed=[rows.CONTEXT_ERROR] * 2)
    rows.sampled(runs, engine)
    now = timezone.now()
    ended = {"closing_reason": "done", "closed_at": now}
    return {
        "runs": runs,
        "paused": rows.running(make_batch, name="Held", paused=True),
        "new": make_batch(name="New"),
        "done": make_batch(name="Done", status="completed", completed_at=now, **ended),
        "old": make_batch(
            name="Old",
            status="completed",
            completed_at=now - timedelta(days=2),
            **ended,
        ),
        "bad": make_batch(
            name="Bad", status="failed", failed_at=now, errors={"data": []}
        ),
    }


def tiles(page: str) -> dict[str, int]:
    """The numbers of the strip by their words."""
    strip = page[page.index('class="card strip"') :].split("</nav>")[0]
    return {
        word: int(n) for word, n in re.findall(r'data-figure="([^"]+)">(\d+)<', strip)
    }


def test_the_strip_counts_and_links(
    client: Client, owner: User, busy: dict[str, Batch]
) -> None:
    client.force_login(owner)

    page = client.get("/").content.decode()

    assert tiles(page) == {
        "running": 1,
        "queued": 2,
        "finalizing": 0,
        "completed in 24 h": 1,
        "failed in 24 h": 1,
        "deadline at risk": 0,
    }
    assert 'href="/batches/?status=in_progress"' in page


def test_what_runs_and_what_waits_is_listed_with_its_reason(
    client: Client, owner: User, busy: dict[str, Batch]
) -> None:
    client.force_login(owner)

    page = client.get("/").content.decode()
    running, queue = page.split('id="running-title"')[1].split('id="queue-title"')[:2]
    queue = queue.split("</section>")[0]

    assert "Runs</a>" in running
    assert "500</span>" in running  # 100 rows of 50 tokens every 10 s
    assert "32 of 1,000" in running
    assert "(2 failed)" in running
    assert "Held</a>" not in running
    assert "the batch is paused" in queue
    assert "its file is being checked" in queue
    assert "Runs</a>" not in queue


def test_failures_of_a_day_are_grouped(
    client: Client, owner: User, busy: dict[str, Batch]
) -> None:
    past = timezone.now() - timedelta(days=2)
    for word, at in (("old_error", past), ("batch_cancelled", timezone.now())):
        FailureCount.objects.create(
            batch=busy["runs"], error_class=word, hour=at, rows=5, newest_at=at
        )
    client.force_login(owner)

    page = client.get("/").content.decode()
    card = page.split('id="failures-title"')[1].split("</section>")[0]

    assert "?error=context_length_exceeded" in card
    assert '<span class="number">2</span>' in card
    # Neither older ones nor rows that a person cancelled.
    assert "old_error" not in card
    assert "batch_cancelled" not in card


@pytest.mark.parametrize("span", ["1h", "24h", "7d"])
def test_throughput_is_stacked_by_model(
    owner: User, busy: dict[str, Batch], span: str
) -> None:
    engine = rows.managed("gpu1")
    at = timezone.now() - timedelta(minutes=40)
    resolution = {"1h": 10, "24h": 60, "7d": 600}[span]
    for model, tokens in (("large", 6000), ("", 3000)):
        Batch.objects.filter(pk=busy["old"].pk).update(model=model)
        ThroughputSample.objects.create(
            batch=busy["old"],
            engine=engine,
            at=at,
            seconds=10,
            rows=1,
            input_tokens=0,
            output_tokens=tokens,
            resolution=resolution,
        )
        cache.clear()
        made = throughput.chart(overview.teams_of(owner), span)
        step = throughput.SPANS[span].step
        layers = {layer.name: layer for layer in made.layers}
        if span == "7d":
            # Within the step that is still being filled, or the one before.
            continue
        name = model or "several models"
        total = layers[name].mean * throughput.SPANS[span].seconds
        assert total == pytest.approx(6000 if model else 9000, abs=step)
        assert made.top >= made.peak > 0


@pytest.mark.parametrize(("span", "queries"), [("1h", 2), ("24h", 1), ("7d", 1)])
def test_sums_of_a_day_or_a_week_are_read_once_a_while(
    owner: User,
    stranger: User,
    busy: dict[str, Batch],
    span: str,
    queries: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    mine, theirs = overview.teams_of(owner), overview.teams_of(stranger)
    with django_assert_num_queries(queries):
        first = throughput.chart(mine, span)
        assert throughput.chart(mine, span) == first
    # Other teams have sums of their own.
    with django_assert_num_queries(1):
        assert throughput.chart(theirs, span).layers == []


def test_more_models_than_colours_are_others(
    owner: User, make_batch: MakeBatch
) -> None:
    engine = rows.managed()
    at = timezone.now() - timedelta(minutes=10)
    for n in range(8):
        batch = rows.running(make_batch, model=f"model-{n}")
        ThroughputSample.objects.create(
            batch=batch,
            engine=engine,
            at=at,
            seconds=10,
            rows=1,
            input_tokens=0,
            output_tokens=1000 - n,
        )

    made = throughput.chart(overview.teams_of(owner), "1h")

    names = [layer.name for layer in made.layers]
    assert names == [*(f"model-{n}" for n in range(5)), "others"]


def test_a_stranger_sees_nothing_of_it(
    client: Client, stranger: User, busy: dict[str, Batch]
) -> None:
    client.force_login(stranger)

    page = client.get("/").content.decode()

    assert "Your first batch goes here" in page
    assert "Runs</a>" not in page
    for part in ("live", "steady"):
        html = client.get(f"/?part={part}", headers=HTMX).content.decode()
        assert "Runs" not in html
        assert "context_length_exceeded" not in html


def test_storage_is_that_of_the_team(
    client: Client, owner: User, make_file: MakeFile, busy: dict[str, Batch]
) -> None:
    make_file(b"x" * 3_000_000, expires_at=timezone.now() + timedelta(days=2))
    client.force_login(owner)

    card = client.get("/").content.decode().split('id="storage-title"')[1]

    assert "3.0 MB" in card
    assert "1, the first" in card


@pytest.mark.parametrize("part", ["live", "steady"])
def test_a_poll_is_answered_304_while_nothing_changes(
    client: Client, owner: User, busy: dict[str, Batch], part: str
) -> None:
    # A line that moves on by itself would be a change.
    ThroughputSample.objects.all().delete()
    client.force_login(owner)

    r = client.get(f"/?part={part}", headers=HTMX)
    again = client.get(f"/?part={part}", headers=HTMX | {"if-none-match": r["ETag"]})

    assert r.status_code == 200
    assert r.content.decode().strip().startswith(f'<div id="home-{part}"')
    assert again.status_code == 304


@pytest.mark.parametrize("change", [{"priority": 5}, {"expected_requests": 9}])
def test_a_poll_tells_what_changed_of_one_that_waits(
    client: Client, owner: User, busy: dict[str, Batch], change: dict[str, int]
) -> None:
    ThroughputSample.objects.all().delete()
    client.force_login(owner)
    r = client.get("/?part=live", headers=HTMX)

    Batch.objects.filter(pk=busy["new"].pk).update(**change)
    again = client.get("/?part=live", headers=HTMX | {"if-none-match": r["ETag"]})

    assert again.status_code == 200
    shown = {"priority": "priority 5", "expected_requests": "9 lines"}
    assert shown[next(iter(change))] in again.content.decode()


def test_what_the_page_costs(
    client: Client,
    owner: User,
    busy: dict[str, Batch],
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client.force_login(owner)
    monkeypatch.setattr(standing, "LOOK_SECONDS", 3600.0)
    client.get("/")
    # session, user, teams, active batches, samples, owners, files, three counts
    with django_assert_num_queries(10):
        client.get("/?part=live", headers=HTMX)
    # session, user, teams, failures, engines (2), estimates, workers
    with django_assert_num_queries(8):
        client.get("/?part=steady", headers=HTMX)
