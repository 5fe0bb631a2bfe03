# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from batchsite.accounts.models import User
from jobs import lifecycle, standing
from jobs.models import Batch, BatchEvent
from tests.conftest import MakeBatch
from tests.web import rows

HTMX = {"hx-request": "true"}


def custom_ids(html: str) -> list[str]:
    """The custom ids of the results table."""
    table = html[html.index('id="results"') :]
    return re.findall(r"row-\d+", table)


def test_strangers_get_404(
    client: Client, stranger: User, staff: User, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    client.force_login(stranger)
    assert client.get(f"/batches/{batch.public_id}/").status_code == 404
    assert client.get(f"/batches/{batch.public_id}/", headers=HTMX).status_code == 404
    assert client.get(f"/batches/{batch.pk}/").status_code == 404

    client.force_login(staff)
    assert client.get(f"/batches/{batch.public_id}/").status_code == 200


def test_a_running_batch_shows_its_four_numbers(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(
        make_batch, name="CV parsing", total=50_000, completed=29_963, failed=37,
        result_seq=30_000, output_tokens=1_500_000,
    )  # fmt: skip
    rows.sampled(batch, rows.managed())
    client.force_login(owner)

    page = client.get(f"/batches/{batch.public_id}/").content.decode()

    assert "CV parsing" in page
    assert "30,000 of 50,000 requests" in page
    # 10 requests of 50 tokens a second, so 20,000 more take 33 min, give or take
    assert re.search(r">500</span>.*tok/s", page)
    assert re.search(r">30\N{EN DASH}37</span>.*min", page)
    assert re.search(r">37</span>.*requests", page)
    assert "Running, 20,000 requests left." in page
    assert "<polyline" in page


def test_a_batch_that_waits_says_for_what(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    address = f"/batches/{batch.public_id}/"
    client.force_login(owner)

    assert "no engine with a worker is running" in client.get(address).content.decode()

    engine = rows.managed()
    assert "for a free place on gpu0" in client.get(address).content.decode()

    engine.fault = "the engine answered 401"
    engine.save(update_fields=["fault"])
    assert "gpu0: the engine answered 401" in client.get(address).content.decode()

    Batch.objects.filter(pk=batch.pk).update(model="other")
    assert "no engine has other loaded" in client.get(address).content.decode()

    Batch.objects.filter(pk=batch.pk).update(paused=True)
    assert "Paused with 1,000 requests left." in client.get(address).content.decode()


def test_a_failed_batch_lists_line_field_and_message(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    errors = [
        {"line": n, "param": "custom_id", "code": "dup", "message": f"<b>bad {n}\x07"}
        for n in range(1, 121)
    ]
    batch = make_batch(status=Batch.Status.FAILED, errors={"data": errors})
    client.force_login(owner)

    page = client.get(f"/batches/{batch.public_id}/").content.decode()

    assert "&lt;b&gt;bad 100\N{REPLACEMENT CHARACTER}" in page
    assert "bad 101" not in page
    assert "and 20 more" in page
    assert "nothing was sent to an engine" in page


def test_the_error_report_downloads(
    client: Client, owner: User, stranger: User, make_batch: MakeBatch
) -> None:
    batch = make_batch(status=Batch.Status.FAILED)
    address = f"/batches/{batch.public_id}/error-report/"
    client.force_login(owner)
    assert client.get(address).status_code == 404

    assert batch.input_file is not None
    Batch.objects.filter(pk=batch.pk).update(error_report=batch.input_file.storage_name)
    r = client.get(address)
    assert b"".join(r.streaming_content).count(b"\n") == 2  # type: ignore[attr-defined]  # a FileResponse
    assert "attachment" in r["Content-Disposition"]

    client.force_login(stranger)
    assert client.get(address).status_code == 404


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (rows.chat("<script>alert(1)</script>"), "&lt;script&gt;alert(1)"),
        (json.dumps({"choices": [{"text": "plain completion"}]}), "plain completion"),
        (
            json.dumps({"choices": [{"message": {"tool_calls": [{"id": "t1"}]}}]}),
            "calls [{&quot;id&quot;",
        ),
        (
            json.dumps({"output": [{"content": [{"text": "a response"}]}]}),
            "a response",
        ),
        (json.dumps({"data": [{"embedding": [0.5] * 1024}]}), "1,024 numbers"),
        (r'{"choices": [{"message": {"content": "lone \ud800 \u0000 end"}}]}', "lone ?"),
        ('{"choices": 3, "output": {"content": 1}, "data": "x"}', "&quot;choices&quot;: 3"),
        ("[" * 50_000, "[[[["),
        ('{"choices": [{"message": {"content": "' + "x" * 70_000 + '"}}]}', "xxxx"),
    ],
)  # fmt: skip
def test_answers_of_any_kind_are_shown_as_text(
    client: Client, owner: User, make_batch: MakeBatch, body: str, shown: str
) -> None:
    batch = rows.running(make_batch)
    rows.answer(batch, [body])
    client.force_login(owner)

    page = client.get(f"/batches/{batch.public_id}/").content.decode()

    assert shown in page
    assert "<script>alert" not in page
    # Long answers are cut on the way out of the database.
    assert len(page) < 60_000


def test_first_failed_rows_name_custom_id_and_message(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    rows.answer(batch, [rows.chat("yes")], failed=[rows.CONTEXT_ERROR] * 7)
    client.force_login(owner)

    page = client.get(f"/batches/{batch.public_id}/").content.decode()
    failures = page[page.index('id="batch-failures"') : page.index('id="results"')]

    assert re.findall(r"row-\d+", failures) == [f"row-{n}" for n in range(1, 6)]
    assert "The context is too long." in failures
    assert "first 5 of 7" in failures


def test_the_first_results_lead_to_all_of_them(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    rows.answer(batch, [rows.chat("yes")] * 12)
    client.force_login(owner)

    page = client.get(f"/batches/{batch.public_id}/").content.decode()

    assert custom_ids(page) == [f"row-{n}" for n in range(10)]
    assert f'href="/batches/{batch.public_id}/results/">all 12' in page


def test_a_poll_gets_the_live_numbers_alone(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    rows.answer(batch, [rows.chat("yes")])
    client.force_login(owner)
    query = "?was=in_progress&failed=0&seq=0"

    r = client.get(f"/batches/{batch.public_id}/{query}", headers=HTMX)
    html = r.content.decode()
    again = client.get(
        f"/batches/{batch.public_id}/{query}",
        headers=HTMX | {"if-none-match": r["ETag"]},
    )

    assert html.strip().startswith('<section id="batch-live"')
    assert "<html" not in html
    assert 'id="results"' not in html
    assert 'id="batch-side"' not in html
    assert "1 new result, show" in html
    assert 'hx-trigger="every 2s"' in html
    assert again.status_code == 304


def test_new_failures_arrive_with_the_poll(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    rows.answer(batch, [], failed=[rows.CONTEXT_ERROR])
    client.force_login(owner)

    r = client.get(
        f"/batches/{batch.public_id}/?was=in_progress&failed=0&seq=1", headers=HTMX
    )

    assert 'id="batch-failures" hx-swap-oob="true"' in r.content.decode()
    assert "The context is too long." in r.content.decode()


def test_polling_stops_at_the_end_and_brings_the_rest_up_to_date(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch, total=1)
    rows.answer(batch, [rows.chat("yes")])
    lifecycle.finalize(batch, epoch=0)
    Batch.objects.filter(pk=batch.pk).update(closed_at=timezone.now())
    lifecycle.end(batch, epoch=0)
    client.force_login(owner)

    r = client.get(
        f"/batches/{batch.public_id}/?was=in_progress&failed=0&seq=1", headers=HTMX
    )
    html = r.content.decode()
    live = html[: html.index("</section>")]

    assert "hx-trigger" not in live
    assert 'id="batch-head" hx-swap-oob="true"' in html
    assert 'id="batch-side" hx-swap-oob="true"' in html
    assert "Cancel" not in html
    assert "the files are ready" in html


def test_query_counts(
    client: Client,
    owner: User,
    make_batch: MakeBatch,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = rows.running(make_batch)
    rows.answer(batch, [rows.chat("yes")] * 30, failed=[rows.CONTEXT_ERROR] * 9)
    rows.sampled(batch, rows.managed())
    client.force_login(owner)
    address = f"/batches/{batch.public_id}/"

    # What the queue looks like is shared by all pages for a while.
    monkeypatch.setattr(standing, "LOOK_SECONDS", 3600.0)
    standing.of([batch])
    # session, user, batch, samples, results, events, role, estimate, failures; the
    # frame's four
    with django_assert_num_queries(13):
        client.get(address)
    # session, user, batch, samples
    with django_assert_num_queries(4):
        client.get(f"{address}?was=in_progress&failed=9&seq=39", headers=HTMX)


def test_the_numbers_of_an_ended_batch(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    started = timezone.now() - timedelta(hours=3)
    batch = make_batch(
        status=Batch.Status.COMPLETED,
        completed=1000,
        output_tokens=360_000,
        created_at=started,
        in_progress_at=started,
        closed_at=started + timedelta(hours=1),
        completed_at=started + timedelta(hours=1, minutes=1),
    )
    client.force_login(owner)

    page = client.get(f"/batches/{batch.public_id}/").content.decode()

    assert re.search(r">100</span>.*tok/s", page)
    assert "1 h 1 min" in page
    assert "hx-trigger" not in page[page.index('id="batch-live"') :]


def test_a_deadline_at_risk_is_said_beside_the_estimate(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    # 10 requests a second: the rest takes half an hour, and ten minutes are left.
    batch = rows.running(
        make_batch, total=50_000, completed=30_000, result_seq=30_000,
        output_tokens=1_500_000, expires_at=timezone.now() + timedelta(minutes=10),
    )  # fmt: skip
    rows.sampled(batch, rows.managed())
    BatchEvent.objects.create(batch=batch, kind="deadline_at_risk", message="so far")
    client.force_login(owner)

    page = client.get(f"/batches/{batch.public_id}/").content.decode()

    assert "too late for its deadline" in page
    assert "deadline at risk" in page
    assert "deadline_at_risk" not in page
    # The time that the batch has, not OpenAI's word for its window.
    assert "50 min after its creation" in page


def test_a_failure_that_is_not_the_files_is_not_called_so(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    error = {"code": "token_limit_exceeded", "message": "Too many.", "line": None}
    batch = make_batch(status=Batch.Status.FAILED, errors={"data": [error]})
    client.force_login(owner)

    page = client.get(f"/batches/{batch.public_id}/").content.decode()
    rows_of_list = client.get("/batches/").content.decode()

    assert "in the input file" not in page
    assert "The batch could not be run" in page
    assert "Why it was not run" in page
    assert "it could not be run" in rows_of_list


def test_options_of_a_batch_are_shown_where_set(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(
        make_batch, model="", allow_mixed_models=True, output_order="completion",
        tags=["<b>may"], webhook_url="https://hooks.example.com/x",
    )  # fmt: skip
    client.force_login(owner)

    page = client.get(f"/batches/{batch.public_id}/").content.decode()

    for words in (
        "several models",
        "in the order of the answers",
        "&lt;b&gt;may",
        "https://hooks.example.com/x",
    ):
        assert words in page
    assert "several models" in client.get("/batches/").content.decode()
