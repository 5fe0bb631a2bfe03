# SPDX-License-Identifier: Apache-2.0
"""Chromium on a live site with seeded rows. Needs no network but loopback."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from batchsite.accounts.models import ApiKey, Team, User
from batchsite.accounts.people import (
    create_api_key,
    ensure_member,
    record,
    set_password_path,
)
from jobs import removal, row_checks
from jobs.models import Batch, BatchFile, ServedModel
from jobs.row_checks import following
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import chat_lines
from tests.jobs.webhook_rows import PUBLIC, make_delivery, make_endpoint
from tests.web import rows
from tests.web.benchmark_rows import measured
from tests.web.curation_rows import curated
from tests.web.model_rows import models_that_ran
from tests.web.usage_rows import some_weeks

# Playwright's sync API runs an event loop in this thread, and Django would refuse
# queries there; the loop never runs Django's code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
]
OpenPage = Callable[..., Page]
LONG_ADDRESS = (
    "somebody.with.a-very-long.local-part.indeed@a-long-subdomain.of.example.com"
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the pages of a test wrote to the console or were refused by the CSP."""
    return []


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A database in a file: of one in memory the server's threads would be a part.

    They share its one connection then, for which SQLite does not wait.
    """
    database = settings.DATABASES["default"]
    if "sqlite3" in database["ENGINE"]:
        name = tmp_path_factory.mktemp("browser") / "db.sqlite3"
        database.setdefault("TEST", {})["NAME"] = str(name)


def session_of(user: User) -> str:
    """The key of a new session of that person."""
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


@pytest.fixture
def open_page(
    chromium: Browser, live_server: LiveServer, complaints: list[str]
) -> Iterator[OpenPage]:
    """Opens a path, signed in as `user` if one is given; options go to the browser."""
    contexts: list[BrowserContext] = []

    def open_it(path: str, *, user: User | None = None, **options: object) -> Page:
        context = chromium.new_context(base_url=live_server.url, **options)  # type: ignore[arg-type]  # the caller's own options
        # A busy machine is no failure.
        context.set_default_navigation_timeout(120_000)
        contexts.append(context)
        if user is not None:
            value = session_of(user)
            context.add_cookies(
                [{"name": "sessionid", "value": value, "url": live_server.url}]
            )
        page = context.new_page()
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text)
                if message.type in ("error", "warning")
                else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield open_it
    for context in contexts:
        context.close()


@pytest.fixture
def batches(transactional_db: None, make_batch: MakeBatch) -> dict[str, Batch]:
    """One batch of each kind, with an engine that works and one that does not."""
    engine = rows.managed(
        gauges={
            "gpus": [{"name": "H100", "utilization": 97, "temperature": 60}],
            "kv_cache": 0.8,
        }
    )
    rows.managed("gpu1", alive=False)
    rows.control_worker()
    made = {
        "completed": make_batch(
            name="Old", status=Batch.Status.COMPLETED, completed=3, output_tokens=90
        ),
        "failed": make_batch(
            name="Bad",
            status=Batch.Status.FAILED,
            errors={"data": [{"line": 3, "code": "x", "message": "Not JSON."}]},
        ),
        "validating": make_batch(name="New"),
        "running": rows.running(make_batch, name="CV parsing"),
    }
    rows.answer(
        made["running"],
        [rows.chat("<img src=x onerror=alert(1)>"), *[rows.chat("fine")] * 30],
        failed=[rows.CONTEXT_ERROR] * 2,
    )
    rows.sampled(made["running"], engine)
    return made


@pytest.fixture
def cast(
    transactional_db: None, owner: User, viewer: User, staff: User
) -> dict[str, User | None]:
    """Who looks at pages: one of each kind, and nobody."""
    return {
        "": None,
        "owner": owner,
        "viewer": viewer,
        "staff": staff,
        "newcomer": ensure_member(team_name="New", email="newcomer@example.com").user,
        "alone": User.objects.create_user("alone@example.com"),
    }


@pytest.fixture
def people(transactional_db: None, team: Team, owner: User, teammate: User) -> Team:
    """A team with a few people, keys and events, long names among them."""
    ensure_member(team_name=team.name, email=LONG_ADDRESS, role="curator")
    ensure_member(team_name="W" * 100, email=owner.email)
    create_api_key(team=team, user=owner, name="laptop", expiry=timedelta(days=30))
    create_api_key(
        team=team, user=teammate, name="x" * 100, scopes=["files:read", "batches:write"]
    )
    create_api_key(team=team, user=teammate, name="ended")
    ApiKey.objects.filter(name="ended").update(revoked_at=team.created_at)
    ApiKey.objects.filter(name="laptop").update(
        last_used_at=team.created_at, last_used_from="2001:db8:85a3::8a2e:370:7334"
    )
    record(action="file.download", actor=owner, team=team, target="file-" + "a" * 190)
    somebody_long = User.objects.get(email=LONG_ADDRESS)
    some_weeks(team, [owner, teammate, somebody_long], now=timezone.now())
    return team


@pytest.fixture
def places(
    batches: dict[str, Batch],
    more_batches: dict[str, Batch],
    hooks: dict[str, str],
    sent: dict[str, str],
    people: Team,
    cast: dict[str, User | None],
    models: dict[str, Any],
    curation: dict[str, str],
    benchmarks: dict[str, str],
) -> dict[str, Any]:
    """What stands in the addresses of tests/browser/pages.py."""
    newcomer = cast["newcomer"]
    assert newcomer is not None
    # Not of somebody in the cast: a sign-in ends all links of before.
    invited = User.objects.get(email=LONG_ADDRESS)
    return {
        **{name: batch.public_id for name, batch in (batches | more_batches).items()},
        **hooks,
        **models,
        **sent,
        **curation,
        **benchmarks,
        "team": people.pk,
        "new_team": newcomer.memberships.get().team_id,
        "batch_pk": batches["completed"].pk,
        "link": set_password_path(invited),
    }


@pytest.fixture
def curation(people: Team, owner: User, make_batch: MakeBatch) -> dict[str, str]:
    """Queues, items, rubrics and a dataset."""
    other = ensure_member(
        team_name=people.name, email="curator@example.com", role="curator"
    ).user
    return curated(make_batch, people, owner, [other])


@pytest.fixture
def benchmarks(
    people: Team, owner: User, models: dict[str, Any], curation: dict[str, str]
) -> dict[str, str]:
    """Suites and runs, after the models that they run on."""
    return measured(people, owner)


@pytest.fixture
def more_batches(
    batches: dict[str, Batch], make_batch: MakeBatch, people: Team
) -> dict[str, Batch]:
    """Those in the other states; names as long as they may be, rows that failed."""
    long: dict[str, Any] = {
        "name": "W" * 200,
        "model": "an-organisation/" + "a-long-name-of-a-model-" * 5,
        "tags": ["t" * 64, "weekly", "x", "of several words"],
        "metadata": {"k" * 64: "v" * 512, "customer": "internal"},
        "webhook_url": f"{PUBLIC}/{'long' * 60}",
        "owner": User.objects.get(email=LONG_ADDRESS),
    }
    states = Batch.Status
    made = {
        "paused": rows.running(make_batch, paused=True, **long),
        "finalizing": make_batch(status=states.FINALIZING, closing_reason="done"),
        "cancelled": make_batch(status=states.CANCELLED, completed=3, failed=4, **long),
        "expired": make_batch(status=states.EXPIRED, completed=2, failed=1),
        "refused": make_batch(
            status=states.FAILED,
            errors={"data": [{"line": None, "code": "x", "message": "No room."}]},
        ),
        "retried": rows.running(make_batch, total=3),
        "deleted": make_batch(status=states.CANCELLED, **long),
    }
    removal.delete_batch(batch=made["deleted"], user=long["owner"])
    rows.answer(made["retried"], [rows.chat("yes")], failed=[rows.CONTEXT_ERROR] * 2)
    now = timezone.now()
    Batch.objects.filter(pk=made["retried"].pk).update(
        status="completed", completed_at=now, closed_at=now, closing_reason="done"
    )
    checks = [
        {"name": "W" * 40, "kind": "json"},
        {"name": "short", "kind": "length", "params": {"most": 5, "unit": "words"}},
    ]
    given = row_checks.read("checks", checks)
    row_checks.add(batch=made["retried"], checks=given, user=None)
    following.run()
    return made


@pytest.fixture
def sent(people: Team, make_file: MakeFile, make_batch: MakeBatch) -> dict[str, str]:
    """Files that somebody is about to make batches of: good and bad ones, long words."""
    ServedModel.objects.get_or_create(name="tiny", defaults={"source": "/m"})
    long = ("w" * 300).encode()
    good = make_file(chat_lines(40), filename=f"{'W' * 250}.jsonl")
    bad = make_file(chat_lines(1) + b'{"no":' + long + b"\n" + b"bad\n" * 1200)
    cells = long + b",x" + long + b"\n"
    table = make_file(
        cells + cells * 2, filename="a.csv", purpose=BatchFile.Purpose.USER_DATA
    )
    no_table = make_file(b"\xff\xfe", filename="b.csv", purpose="user_data")
    lost = make_file(chat_lines(1))
    gone = make_batch(input_file=lost)
    BatchFile.objects.filter(pk=lost.pk).update(deleted_at=timezone.now())
    return {
        "good_file": good.public_id,
        "bad_file": bad.public_id,
        "table": table.public_id,
        "no_table": no_table.public_id,
        "cloneless": gone.public_id,
    }


@pytest.fixture
def hooks(people: Team) -> dict[str, str]:
    """An endpoint with a message that failed twice, and one that was switched off."""
    endpoint = make_endpoint(people, f"{PUBLIC}/{'long' * 60}", description="Nightly")
    off = make_endpoint(
        people,
        disabled_at=timezone.now(),
        disabled_reason="Every attempt failed for three days.",
        failing_since=timezone.now(),
    )
    delivery = make_delivery(endpoint, due=False, attempts_made=2)
    delivery.attempts.create(error="No answer within 10 s.")
    delivery.attempts.create(status_code=500, response="<b>" * 500)
    return {
        "endpoint": endpoint.public_id,
        "endpoint_off": off.public_id,
        "delivery": delivery.public_id,
    }


@pytest.fixture
def models(batches: dict[str, Batch], make_batch: MakeBatch) -> dict[str, Any]:
    """One that ran and was tried out, one that does not load, and others."""
    return models_that_ran(make_batch)
