# SPDX-License-Identifier: Apache-2.0
"""How much may wait: per team, over all teams, per hour, in requests and tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from batchsite.accounts.models import Team
from jobs import limits
from jobs.checks import rules_for
from jobs.jsonl import LineError
from jobs.limits import LimitReached
from jobs.models import Batch, BatchFile
from jobs.submit import create_batch
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import chat_lines
from tests.site import DATABASES, Site


@pytest.fixture
def file(make_file: MakeFile) -> BatchFile:
    """Ten requests."""
    return make_file(chat_lines(10), lines=10)


def create(team: Team, file: BatchFile) -> Batch:
    return create_batch(
        team=team,
        user=None,
        input_file_id=file.public_id,
        endpoint="/v1/chat/completions",
    )


def used(team: Team) -> int:
    return limits.requests_usage(team)[0].used


def test_waiting_requests_are_those_without_a_result(
    team: Team, other_team: Team, make_batch: MakeBatch
) -> None:
    make_batch(expected_requests=7)
    make_batch(status="in_progress", total=100, completed=30, failed=5, result_seq=35)
    make_batch(status="completed", completed=9)
    make_batch(status="cancelling", total=50, closing_reason="cancelled")
    make_batch(status="finalizing", total=50, closing_reason="expired")
    make_batch(team=other_team, expected_requests=1000)
    ours, everybody = limits.requests_usage(team)
    assert (ours.used, everybody.used) == (72, 1072)


def test_the_file_that_does_not_fit_is_refused(team: Team, file: BatchFile) -> None:
    team.max_queued_requests = 25
    team.save()
    create(team, file)
    create(team, file)
    with pytest.raises(LimitReached) as refused:
        create(team, file)
    assert refused.value.message == (
        "Queued request limit reached for Blue: this file has 10 lines. Limit: 25 queued"
        " requests, used: 20, free: 5. Please try again once some batches have been"
        " completed."
    )
    assert (refused.value.kind, refused.value.retry_after) == ("requests", 60)
    assert used(team) == 20


def test_teams_share_the_sites_queue(
    team: Team, other_team: Team, file: BatchFile, settings: Settings
) -> None:
    settings.BATCHSITE_MAX_QUEUED_REQUESTS_TOTAL = 15
    settings.BATCHSITE_MAX_QUEUED_REQUESTS = 0
    create(team, file)
    file.team = other_team
    file.save(update_fields=["team"])
    with pytest.raises(LimitReached, match=r"queue of this site is full.*free: 5\."):
        create(other_team, file)


@pytest.mark.parametrize(("of_team", "of_site"), [(2, 100), (None, 2)])
def test_batches_of_an_hour_and_when_there_is_room_again(
    team: Team,
    file: BatchFile,
    settings: Settings,
    of_team: int | None,
    of_site: int,
) -> None:
    settings.BATCHSITE_BATCHES_PER_HOUR = of_site
    team.max_batches_per_hour = of_team
    team.save()
    old = create(team, file)
    Batch.objects.update(created_at=timezone.now() - timedelta(minutes=50))
    create(team, file)
    assert limits.hour_usage(team) == limits.Usage(2, 2)
    with pytest.raises(LimitReached, match="2 batches in an hour") as refused:
        create(team, file)
    # The older one leaves the hour in ten minutes.
    assert refused.value.retry_after is not None
    assert 500 < refused.value.retry_after <= 600
    Batch.objects.filter(pk=old.pk).update(
        created_at=timezone.now() - timedelta(minutes=61)
    )
    create(team, file)


def test_a_zero_stops_a_team_and_a_zero_of_the_site_stops_nobody(
    team: Team, file: BatchFile, settings: Settings
) -> None:
    for name in (
        "MAX_QUEUED_REQUESTS",
        "MAX_QUEUED_REQUESTS_TOTAL",
        "MAX_QUEUED_TOKENS",
        "MAX_QUEUED_TOKENS_TOTAL",
        "BATCHES_PER_HOUR",
    ):
        setattr(settings, f"BATCHSITE_{name}", 0)
    batch = create(team, file)
    limits.reserve_tokens(batch, 10**15, model="tiny")
    assert limits.hour_usage(team) == limits.Usage(1, None)
    assert limits.Usage(1, None).free is None
    team.max_requests = 0
    rules = rules_for(team, endpoint="/v1/responses", mixed=False, dedupe=True)
    assert rules.most == 0
    team.max_batches_per_hour = 0
    team.save()
    with pytest.raises(LimitReached, match="0 batches in an hour"):
        create(team, file)


def test_a_batch_without_its_file_takes_no_room(team: Team) -> None:
    team.max_queued_requests = 0
    team.save()
    batch = create_batch(
        team=team, user=None, input_file_id="file-none", endpoint="/v1/embeddings"
    )
    assert batch.expected_requests == 0


def test_the_api_answers_429_in_openais_words(
    api: APIClient, team: Team, file: BatchFile
) -> None:
    Team.objects.update(max_batches_per_hour=1)
    body = {
        "input_file_id": file.public_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    assert api.post("/v1/batches", body, format="json").status_code == 200
    r = api.post("/v1/batches", body, format="json")
    assert r.status_code == 429
    error = r.json()["error"]
    assert (error["type"], error["param"], error["code"]) == (
        "requests",
        None,
        "rate_limit_exceeded",
    )
    assert "free: 0" in error["message"]
    assert 3000 < int(r["Retry-After"]) <= 3600
    assert Batch.objects.count() == 1


def tokens_error(batch: Batch, tokens: int, model: str = "tiny") -> dict[str, Any]:
    with pytest.raises(LineError) as refused:
        limits.reserve_tokens(batch, tokens, model=model)
    return refused.value.as_dict()


def test_tokens_are_limited_for_each_model(
    team: Team, file: BatchFile, make_batch: MakeBatch
) -> None:
    team.max_queued_tokens = 1000
    make_batch(status="in_progress", total=1, model="tiny", expected_tokens=600)
    make_batch(status="completed", completed=1, model="tiny", expected_tokens=900)
    make_batch(status="in_progress", total=1, model="big", expected_tokens=1000)
    batch = make_batch()
    assert tokens_error(batch, 401) == {
        "code": "token_limit_exceeded",
        "message": "Enqueued token limit reached for tiny in organization Blue. Limit:"
        " 1000 enqueued tokens. Please try again once some in_progress batches have"
        " been completed.",
        "param": None,
        "line": None,
    }
    batch.refresh_from_db()
    assert (batch.expected_tokens, batch.model) == (0, "")
    for _ in range(2):
        # A restart of intake counts nothing twice.
        limits.reserve_tokens(batch, 400, model="tiny")
    batch.refresh_from_db()
    assert (batch.expected_tokens, batch.model) == (400, "tiny")
    assert limits.tokens_usage(team, model="tiny").free == 0


def test_all_teams_share_the_sites_tokens(
    other_team: Team, make_batch: MakeBatch, settings: Settings
) -> None:
    settings.BATCHSITE_MAX_QUEUED_TOKENS_TOTAL = 1000
    make_batch(
        team=other_team, status="in_progress", total=1, model="x", expected_tokens=700
    )
    batch = make_batch()
    assert "all organizations" in tokens_error(batch, 301)["message"]
    limits.reserve_tokens(batch, 300, model="tiny")


def test_ended_batches_are_not_read(
    team: Team, file: BatchFile, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    with CaptureQueriesContext(connection) as captured:
        limits.check_create(team=team, file=file)
        limits.reserve_tokens(batch, 1, model="tiny")
    sums = [q["sql"] for q in captured if "SUM(" in q["sql"]]
    assert len(sums) == 3
    # The very condition of the partial index, word by word.
    condition = "IN ('validating', 'in_progress', 'finalizing', 'cancelling')"
    assert all(condition in sql for sql in sums)


RACE = """
import threading
from django.db import connection
from batchsite.accounts.models import Membership, Team
from batchsite.accounts import people
from jobs import limits
from jobs.models import Batch, BatchFile
from jobs.submit import create_batch

ann = people.ensure_member(team_name="Blue", email="ann@example.com")
bob = people.ensure_member(team_name="Blue", email="bob@example.com")
Team.objects.update(max_queued_requests=10)
team = Team.objects.get()
file = BatchFile.objects.create(
    team=team, filename="a.jsonl", purpose="batch", bytes=9, lines=10, storage_name="a"
)
said = []

def submit():
    create_batch(team=team, user=None, input_file_id=file.public_id, endpoint="/v1/x")

def step_down(membership):
    people.change_role(membership=membership, role="viewer", by=None)

def attempt(together, what, *args):
    together.wait(30)
    try:
        what(*args)
        said.append("done")
    except (limits.LimitReached, people.CannotChange) as refused:
        said.append(type(refused).__name__)
    finally:
        connection.close()

def race(calls):
    together = threading.Barrier(len(calls))
    threads = [threading.Thread(target=attempt, args=(together, *c)) for c in calls]
    for thread in threads: thread.start()
    for thread in threads: thread.join(60)

race([(submit,)] * 4)
race([(step_down, ann), (step_down, bob)])
owners = Membership.objects.filter(role="owner").count()
print(*sorted(said), Batch.objects.count(), owners)
"""


@pytest.mark.slow
@pytest.mark.parametrize("site", DATABASES, indirect=True)
def test_two_at_once_cannot_both_take_the_last_place_nor_both_owners_leave(
    site: Site,
) -> None:
    said = site.python(RACE).split()
    assert said == ["CannotChange", *["LimitReached"] * 3, "done", "done", "1", "1"]
