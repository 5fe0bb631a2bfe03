# SPDX-License-Identifier: Apache-2.0
"""Chromium on a live site with seeded rows. Needs no network but loopback."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from batchsite.accounts.models import User
from jobs.models import Batch
from tests.conftest import MakeBatch
from tests.web import rows

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


@pytest.fixture
def open_page(
    chromium: Browser, live_server: LiveServer, complaints: list[str]
) -> Iterator[OpenPage]:
    """Opens a path, signed in as `user` if one is given; options go to the browser."""
    contexts: list[BrowserContext] = []

    def open_it(path: str, *, user: User | None = None, **options: object) -> Page:
        context = chromium.new_context(base_url=live_server.url, **options)  # type: ignore[arg-type]  # the caller's own options
        contexts.append(context)
        if user is not None:
            client = Client()
            client.force_login(user)
            value = client.cookies["sessionid"].value
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
