# SPDX-License-Identifier: Apache-2.0
"""Benchmarks in the browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from batchsite.accounts.models import Membership, Team, User
from benchmarks import running
from benchmarks.comparing import contestants
from benchmarks.models import Run, Suite
from benchmarks.running import Variant
from benchmarks.web import runs
from jobs.models import Batch
from tests.web.benchmark_rows import answer

from .conftest import MakeRun

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(client: Client, teammate: User) -> Client:
    """A member of the team, signed in."""
    client.force_login(teammate)
    return client


def text(client: Client, path: str, query: Any = None, *, status: int = 200) -> str:
    r = client.get(path, query or {})
    assert r.status_code == status
    if r.streaming:
        return b"".join(r.streaming_content).decode()  # type: ignore[attr-defined]  # of a streaming answer
    return r.content.decode()


def upload(*lines: str) -> SimpleUploadedFile:
    return SimpleUploadedFile("mine.jsonl", "\n".join(lines).encode())


def test_the_way_from_nothing_to_a_suite_that_ships(ann: Client) -> None:
    assert "No benchmark has run yet" in text(ann, "/benchmarks/")
    assert "Your teams have no suite yet" in text(ann, "/benchmarks/suites/")
    assert "First a suite" in text(ann, "/benchmarks/new/")

    r = ann.post("/benchmarks/suites/new/", {"ready": "classification"})

    suite = Suite.objects.get()
    path = f"/benchmarks/suites/{suite.public_id}/"
    assert r["Location"] == path
    page = text(ann, path)
    assert "classification-01" in page and "tone" in page
    assert "36 items" in page
    # A second one has a name that is taken.
    ann.post("/benchmarks/suites/new/", {"ready": "classification"})
    assert "has a suite of this name" in text(ann, "/benchmarks/suites/")
    ann.post("/benchmarks/suites/new/", {"ready": "odd"})
    assert Suite.objects.count() == 1


def test_a_suite_of_a_file_and_its_next_version(ann: Client) -> None:
    path = "/benchmarks/suites/new/"
    bad = ann.post(path, {"name": "Mine", "file": upload('{"odd": 1}'), "metric": ""})
    assert "Line 1: Invalid" in bad.content.decode()
    assert not Suite.objects.exists()
    line = '{"input": "2 + 2?", "reference": "4"}'
    ann.post(path, {"name": "Mine", "file": upload(line), "metric": "exact"})
    suite = Suite.objects.get()
    mine = f"/benchmarks/suites/{suite.public_id}/"
    assert suite.latest.metrics[0].kind == "exact"
    assert "mine.jsonl" in text(ann, mine)

    versions = f"{mine}versions/"
    ann.post(versions, {"file": upload(line), "metric": "exact"})
    assert "there is no new version" in text(ann, mine)
    ann.post(versions, {"file": upload(line, '{"input": "3"}'), "metric": ""})
    assert suite.latest.number == 2
    ann.post(versions, {"metric": ""})
    assert "No version was made" in text(ann, mine)
    assert "version 1</a>" in text(ann, mine)
    assert "2 + 2?" in text(ann, mine, {"version": 1})
    text(ann, mine, {"version": 7}, status=404)
    assert text(ann, f"{mine}export/").count("\n") == 2

    ann.post(f"{mine}archive/", {"archived": "1"})
    assert "archived" in text(ann, mine)
    assert "Mine" in text(ann, "/benchmarks/suites/", {"state": "archived"})
    ann.post(f"{mine}archive/", {"archived": "0"})
    suite.refresh_from_db()
    assert suite.archived_at is None


def test_items_are_paged(ann: Client, make_suite: Any) -> None:
    suite = make_suite(*({"input": f"q {n}"} for n in range(60)))
    path = f"/benchmarks/suites/{suite.public_id}/"
    assert "after=49" in text(ann, path)
    rest = text(ann, path, {"after": 49})
    assert "item-51" in rest and "item-50<" not in rest


def test_results_become_a_suite(
    ann: Client, answered: Callable[..., Batch], teammate: User
) -> None:
    batch = answered("first", "second", owner=teammate, model="tiny")
    results = text(ann, f"/batches/{batch.public_id}/results/")
    path = f"/batches/{batch.public_id}/to-suite/"
    assert path in results
    assert "that your filter leaves" in text(ann, path, {"q": "second"})
    sent = {"name": "Replay", "most": "5", "with_reference": "on", "metric": "token_f1"}
    ann.post(f"{path}?q=second", sent)
    (item,) = Suite.objects.get(name="Replay").latest.items.all()
    assert item.reference == "second"
    ticked = f"{path}?row=0&row=1&row=odd"
    assert "The 2 ticked rows" in text(ann, ticked)
    ann.post(ticked, sent | {"name": "Ticked"})
    assert Suite.objects.get(name="Ticked").latest.count == 2
    again = ann.post(path, sent).content.decode()
    assert "The team has a suite of this name." in again
    text(ann, path, {"outcome": "odd"}, status=404)


def test_a_run_from_the_form_to_the_leaderboard(
    ann: Client, sums: Suite, models: list[str]
) -> None:
    form = text(ann, "/benchmarks/new/", {"suite": sums.public_id})
    assert "small" in form and "large" in form
    sent = {"suite": sums.public_id, "models": models, "repeats": "1", "name": ""}
    for variants, words in (
        ("greedy {", "expected an object"),
        ("a b c", "expected an object"),
        ('a {"model": "x"}', "a variant cannot change this"),
    ):
        r = ann.post("/benchmarks/new/", sent | {"variants": variants})
        assert words in r.content.decode().lower()
    lines = 'greedy {"temperature": 0}\n\nwarm'
    r = ann.post("/benchmarks/new/", sent | {"variants": lines})
    run = Run.objects.get()
    path = f"/benchmarks/runs/{run.public_id}/"
    assert r["Location"] == path
    assert run.matrix["variants"] == [
        {"name": "greedy", "body": {"temperature": 0}},
        {"name": "warm", "body": {}},
    ]
    page = text(ann, path)
    assert "4 of 4 batches still run" in page
    assert "every 5s" in page
    assert "0 of 4" in text(ann, "/benchmarks/")


def test_models_stand_beside_each_other(ann: Client, make_run: MakeRun) -> None:
    run = make_run()
    small, large = run.cells.order_by("position")
    answer(small, "2", "4", "60", "80")
    answer(large, "2", "no <b>idea</b>", "61", failed=1)
    running.work()
    path = f"/benchmarks/runs/{run.public_id}/"

    page = text(ann, path)

    assert page.index("100.0 %") < page.index("25.0 %")
    assert "-75.0 points" in page
    assert "no significant difference, p = 0.25" in page
    assert "worse on 3, better on 0 items" in page
    assert "3 of 4" in page
    assert "By kind of item" in page
    assert "every 5s" not in page
    turned = text(ann, path, {"baseline": large.position, "metric": "numeric"})
    assert "+75.0 points" in turned
    assert "the baseline" in text(ann, path, {"baseline": "odd", "metric": "odd"})

    item = text(ann, f"{path}items/1/")
    assert "2 + 2?" in item
    assert "no &lt;b&gt;idea&lt;/b&gt;" in item or "<ins>" in item
    assert "<b>idea" not in item
    failed = text(ann, f"{path}items/3/")
    assert "too long" in failed
    assert f"{path}items/2/" in item and f"{path}items/0/" in item
    text(ann, f"{path}items/4/", status=404)


def test_a_run_is_cancelled_resumed_and_repeated(
    ann: Client, make_run: MakeRun
) -> None:
    run = make_run(variants=[Variant("greedy", {"temperature": 0})])
    path = f"/benchmarks/runs/{run.public_id}/"
    ann.post(f"{path}resume/")
    assert "Nothing of the run was cancelled" in text(ann, path)
    ann.post(f"{path}cancel/")
    assert "Run what is missing" in text(ann, path)
    ann.post(f"{path}resume/")
    run.refresh_from_db()
    assert run.state == "running"
    r = ann.post(f"{path}rerun/")
    again = Run.objects.latest("pk")
    assert (again.rerun_of, again.public_id in r["Location"]) == (run, True)
    assert "the same as before" in text(ann, r["Location"])
    assert ann.post(f"{path}odd/").status_code == 404


def test_the_first_page_has_the_newest_runs_with_their_best(
    ann: Client, make_run: MakeRun
) -> None:
    assert "benchmarks-title" not in text(ann, "/")
    run = make_run()
    small, large = run.cells.order_by("position")
    answer(small, "2", "4", "60", "80")
    answer(large, "2", "5", "61", "81")
    cache.clear()
    assert "benchmarks-title" not in text(ann, "/")
    running.work()
    cache.clear()
    page = text(ann, "/")
    assert f"/benchmarks/runs/{run.public_id}/" in page
    assert "(-75.0 points)" in page


def test_what_takes_long_is_compared_when_the_page_asks_again(
    ann: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    for cell in run.cells.all():
        answer(cell, "2", "4", "60", "80")
    running.work()
    path = f"/benchmarks/runs/{run.public_id}/"
    with monkeypatch.context() as patch:
        patch.setattr(runs, "COMPARED_SECONDS", -1.0)
        page = text(ann, path)
        assert "being compared" in page and "every 1s" in page
    assert "no significant difference" in text(ann, path)


def test_repeats_have_no_narrower_interval_than_each(make_run: MakeRun) -> None:
    run = make_run(models=["small"], repeats=2)
    for cell in run.cells.all():
        answer(cell, "2", "4", "60", "no")
    running.work()
    (one,) = contestants(run)
    figure = one.metrics()["numeric"]
    assert figure.mean == 0.75
    assert figure.interval is not None
    # Both repeats are the same; Wilson's interval of 3 of 4.
    assert figure.interval.low == pytest.approx(0.30, abs=0.01)


def test_a_ready_suite_goes_to_the_team_that_is_chosen(
    ann: Client, teammate: User, other_team: Team
) -> None:
    Membership.objects.create(user=teammate, team=other_team, role="member")
    assert 'name="team"' in text(ann, "/benchmarks/suites/")
    sent = {"ready": "extraction", "team": str(other_team.pk)}
    ann.post("/benchmarks/suites/new/", sent)
    assert Suite.objects.get().team == other_team


def test_readers_see_and_strangers_do_not(
    client: Client, viewer: User, stranger: User, make_run: MakeRun
) -> None:
    run = make_run()
    path = f"/benchmarks/runs/{run.public_id}/"
    client.force_login(viewer)
    page = text(client, path)
    assert "Cancel</button>" not in page
    assert client.post(f"{path}cancel/").status_code == 403
    assert "New run" not in text(client, "/benchmarks/")
    client.force_login(stranger)
    text(client, path, status=404)
    suite = run.version.suite.public_id
    text(client, f"/benchmarks/suites/{suite}/", status=404)
