# SPDX-License-Identifier: Apache-2.0
"""What runs all day long finds its rows by an index, in tables that have many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from pytest_django.plugin import DjangoDbBlocker
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import ensure_member
from jobs import attendance, claims, engine_side, output, row_checks, stages, standing
from jobs.chores import CHORES
from jobs.models import Batch, BatchFile, CheckRun, Chunk, Engine, Result
from jobs.occupancy import Stay
from jobs.recording import ChunkLease, record, record_copies
from jobs.row_checks import following
from jobs.sampling import Sampler
from jobs.scheduling import Work
from jobs.webhooks import attempts
from jobs.writer import Tally
from tests.inputs import api_client
from tests.many_rows import Sizes, checked, ended_batches, fill, history, vacuum
from tests.query_plans import faults, queries

# Small chunks and long bodies: PostgreSQL reads a small table whole, and is right.
SIZES = Sizes(
    batches=100, rows=100, chunk=2, answered=0.4, copies=5, length=1500, engines=20
)
ENDED = 5_000

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def many_rows(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[list[Batch]]:
    """The running batches of a site with a past.

    Committed, as a planner knows little of rows in an open transaction; all of it goes
    with the module.
    """
    with django_db_blocker.unblock():
        try:
            with transaction.atomic():
                batches = fill(SIZES)
                ended_batches(batches[0].team, ENDED)
                history()
                for batch in batches:
                    checked(batch.pk)
            if connection.vendor == "postgresql":
                # SQLite has no daemon that would do it on a site.
                vacuum()
            yield batches
        finally:
            call_command("flush", verbosity=0, interactive=False)


class Site:
    """What the queries are asked for: a claim, a batch in the middle of its work."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batch = batches[1]
        self.engine = Engine.objects.order_by("pk")[0]
        work = next(
            w for w in claims.claimable_work(["tiny"]) if w.batch == self.batch.pk
        )
        claim = self.claim(work)
        assert claim is not None
        self.work, self.held = work, claim

    def claim(self, work: Work, after: int | None = None) -> claims.Claim | None:
        return claims.claim(work, engine=self.engine, worker="w", after=after)

    def answers(self) -> list[Result]:
        return [
            Result(
                request_id=row.pk,
                index=row.index,
                outcome=Result.Outcome.COMPLETED,
                status_code=200,
                body="{}",
                engine=self.engine,
            )
            for row in self.held.rows
        ]


@pytest.fixture
def site(many_rows: list[Batch]) -> Site:
    return Site(many_rows)


def extend(site: Site) -> None:
    stale = ChunkLease(site.held.lease.chunk + 1, site.batch.pk, 1)
    assert claims.extend("w", [site.held.lease, stale]) == [stale]


def store(site: Site) -> None:
    record(site.held.lease, site.answers(), with_copies=True, finished=True)


def take_stage(site: Site) -> None:
    with stages.held(site.batch) as lease:
        assert lease is not None
        assert lease.renew()


def first_pages(site: Site) -> None:
    for order in Batch.OutputOrder.values:
        assert len(next(output.pages(site.batch.pk, order))) == SIZES.done


def portions(site: Site) -> None:
    assert len(output.portion(site.batch.pk, after=10, limit=20).results) == 20
    for outcome, most in (("completed", 20), ("failed", SIZES.done // 10)):
        found = output.portion(site.batch.pk, after=0, limit=20, outcome=outcome)
        assert len(found.results) == most


def close(site: Site) -> None:
    """As after a cancel: chunks are taken away, what never ran is answered."""
    site.batch.closing_reason = Batch.ClosingReason.CANCELLED
    lease = stages.take(site.batch)
    assert lease is not None
    output._close_chunks(site.batch, lease)
    output._answer_copies(site.batch, lease)
    output._answer_unfinished(site.batch, lease)


def duty(site: Site) -> None:
    assert attendance.take_worker_token(site.engine.name, "w") is None
    assert attendance.EngineDuty(site.engine.name, "w").beat()
    engine_side.report(site.engine, worker="w", in_flight=3)


def follow_checks(site: Site) -> None:
    """Another check begins, and the outcomes of its first rows are added."""
    given = row_checks.read("checks", [{"name": "new", "kind": "not_empty"}])
    assert row_checks.add(batch=site.batch, checks=given, user=None)
    assert following.wanted()
    assert following.follow(CheckRun.objects.get(pk=site.batch.pk)) == SIZES.done


def flagged(site: Site) -> None:
    site.batch.refresh_from_db()
    for text in ("valid:failed", ":failed"):
        wanted = row_checks.wanted_by(site.batch, text)
        assert wanted is not None
        found = row_checks.flagged_indexes(site.batch, wanted, after=9, limit=2)
        assert found == [19, 29]


def sample(site: Site) -> None:
    work = (site.batch.pk, "tiny")
    sampler = Sampler(
        lambda: {work: Tally(rows=3, output_tokens=30)},
        lambda: {work: Stay(engine_seconds=9.0, request_seconds=20.0)},
    )
    sampler.sample(site.engine, window=8, idle=True)


HOT: dict[str, Callable[[Site], Any]] = {
    "anything": lambda site: claims.anything_claimable(),
    "survey": lambda site: engine_side.survey(site.engine),
    "survey of mixed batches": lambda site: claims._models_of(
        [site.batch.pk], ["tiny"]
    ),
    "shares": lambda site: claims.team_load(),
    "claim": lambda site: site.claim(site.work),
    "claim of what follows": lambda site: site.claim(site.work, site.held.end),
    "extend": extend,
    "record": store,
    "copies of a chunk": lambda site: record_copies(site.held.lease),
    "give back": lambda site: claims.give_back(site.held.lease, count_attempt=False),
    "free chunks": lambda site: claims.free_chunks_of(site.engine),
    "still running": lambda site: claims.still_running([site.batch.pk]),
    "duty": duty,
    "sample": sample,
    "checks": follow_checks,
    "rows that failed a check": flagged,
    "stage": take_stage,
    "waiting stages": lambda site: attendance.poke_waiting_batches(),
    "dead owners": lambda site: stages.free_dead_owners(),
    "pages of the output": first_pages,
    "results so far": portions,
    "close": close,
    "standing": lambda site: standing.take_look(),
    "due webhooks": lambda site: attempts.due(48, not_urls=["http://127.0.0.1"]),
    **{f"chore: {c.name}": lambda site, c=c: c.wanted() for c in CHORES},  # type: ignore[misc]  # mypy does not see the default
}


def assert_by_index(found: list[Any]) -> None:
    assert found
    assert [fault for query in found for fault in faults(query)] == []


@pytest.mark.parametrize("name", HOT)
def test_workers_find_their_rows_by_an_index(site: Site, name: str) -> None:
    with queries() as found:
        HOT[name](site)
    if not name.startswith("chore: unnamed"):
        assert_by_index(found)


# What people ask of a batch's results.
RESULTS = (
    "?after=10",
    "?outcome=failed&after=10",
    "?error=http_400&after=10",
    "?finish=length",
    "?check=valid:failed",
    "?check=valid:failed&outcome=completed",
    "?q=nowhere",
    "?q=request-7&in=ids",
    "?outcome=failed&tokens_min=1",
    "0/",
)


@pytest.fixture
def member(many_rows: list[Batch]) -> User:
    team = many_rows[0].team
    return ensure_member(team_name=team.name, email="owner@example.com").user


def test_api_and_pages_find_their_rows_by_an_index(
    member: User, many_rows: list[Batch]
) -> None:
    team = Team.objects.get(pk=many_rows[0].team_id)
    api: APIClient = api_client(member, team)
    browser = Client()
    browser.force_login(member)
    running = many_rows[0].public_id
    other = next(b for b in many_rows[1:] if b.team_id == team.pk).public_id
    middle = Batch.objects.filter(team=team)[ENDED // 2].public_id
    file = BatchFile.objects.filter(team=team)[ENDED // 2].public_id
    for path in (
        "/v1/batches?limit=20",
        f"/v1/batches?limit=20&after={middle}",
        f"/v1/batches/{running}",
        f"/v1/batches/{running}/results?after=10&limit=20",
        f"/v1/batches/{running}/results?outcome=failed",
        f"/v1/batches/{running}/results?check=valid:failed",
        f"/v1/batches/{running}/events",
        "/v1/files?limit=20",
        f"/v1/files?limit=20&after={file}",
        f"/v1/files/{file}",
        "/batches/",
        f"/batches/{running}/",
        *(f"/batches/{running}/results/{query}" for query in RESULTS),
        f"/batches/{running}/results/?with={other}",
        f"/batches/{running}/errors/",
        f"/batches/{running}/log/",
        f"/batches/{running}/config/",
        # Its other part adds up a day of samples, which is all that there are.
        "/?part=live",
        "/models/",
        "/engines/",
    ):
        client = api if path.startswith("/v1/") else browser
        with queries() as found:
            poll = {"hx-request": "true"} if "part=" in path else {}
            r = client.get(path, headers={"host": "localhost", **poll})
        assert r.status_code == 200, path
        assert_by_index(found)


def test_a_query_without_an_index_is_found(site: Site) -> None:
    with queries() as found:
        list(Chunk.objects.filter(attempts=7))
        list(Result.objects.filter(status_code=400).values("pk"))
        Chunk.objects.filter(attempts=7).update(attempts=8)
        list(Chunk.objects.filter(pk=site.held.lease.chunk))
    assert [bool(faults(query)) for query in found] == [True, True, True, False]
