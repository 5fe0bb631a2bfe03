# SPDX-License-Identifier: Apache-2.0
"""What people do in the browser, with and without JavaScript."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from batchsite.accounts.models import User
from jobs.models import Batch
from tests.web import rows

from .conftest import OpenPage

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scripts", [True, False])
def test_cancel_asks_first_and_then_cancels(
    open_page: OpenPage,
    complaints: list[str],
    owner: User,
    batches: dict[str, Batch],
    scripts: bool,
) -> None:
    batch = batches["running"]
    page = open_page(
        f"/batches/{batch.public_id}/", user=owner, java_script_enabled=scripts
    )

    page.get_by_role("button", name="Cancel…").click()
    expect(page.get_by_role("dialog", name="Cancel this batch?")).to_be_visible()
    expect(page.get_by_text("33 of 1,000 requests have their result")).to_be_visible()
    page.get_by_role("button", name="Keep it running").click()
    batch.refresh_from_db()
    assert batch.status == "in_progress"

    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("button", name="Cancel the batch").click()
    expect(page.get_by_text("The batch is being cancelled")).to_be_visible()
    expect(page.locator("h1 .chip")).to_have_text("cancelling")
    batch.refresh_from_db()
    assert batch.status == "cancelling"
    assert complaints == []


def test_live_numbers_follow_the_database_and_stop_at_the_end(
    open_page: OpenPage,
    complaints: list[str],
    owner: User,
    batches: dict[str, Batch],
) -> None:
    batch = batches["running"]
    page = open_page(f"/batches/{batch.public_id}/", user=owner)
    expect(page.get_by_text("33 of 1,000 requests", exact=True)).to_be_visible()

    rows.answer(batch, [rows.chat("more")] * 7)
    expect(page.get_by_text("40 of 1,000 requests", exact=True)).to_be_visible()
    expect(page.get_by_text("7 new results, show")).to_be_visible()

    Batch.objects.filter(pk=batch.pk).update(
        status="cancelled",
        total=40,
        closing_reason="cancelled",
        closed_at=batch.created_at,
        cancelled_at=batch.expires_at,
    )
    expect(page.locator("h1 .chip")).to_have_text("cancelled")
    expect(page.locator("#batch-live[hx-trigger]")).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel…")).to_have_count(0)
    expect(page.locator("[data-fresh]")).to_have_count(0)
    assert complaints == []


def test_p_stops_the_polls(
    open_page: OpenPage, owner: User, batches: dict[str, Batch]
) -> None:
    batch = batches["running"]
    page = open_page(f"/batches/{batch.public_id}/", user=owner)
    page.keyboard.press("p")
    expect(page.locator("[data-fresh-text]")).to_contain_text("not updating")

    rows.answer(batch, [rows.chat("more")])
    page.wait_for_timeout(3000)
    expect(page.get_by_text("33 of 1,000 requests", exact=True)).to_be_visible()

    page.keyboard.press("p")
    expect(page.get_by_text("34 of 1,000 requests", exact=True)).to_be_visible()


def test_theme_switch_holds_without_a_flash(
    open_page: OpenPage, complaints: list[str], owner: User, batches: dict[str, Batch]
) -> None:
    page = open_page("/batches/", user=owner, color_scheme="light")
    paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    page.get_by_role("button", name="Dark theme").click()
    night = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.reload()

    # The server itself writes the theme: the first paint is already dark.
    html = page.request.get("/batches/").text()
    assert 'data-theme="dark"' in html
    assert night != paper
    assert night == page.evaluate(
        "getComputedStyle(document.documentElement).backgroundColor"
    )
    expect(page.get_by_role("button", name="Dark theme")).to_have_attribute(
        "aria-pressed", "true"
    )
    assert complaints == []


def test_theme_switch_works_without_scripts(
    open_page: OpenPage, owner: User, batches: dict[str, Batch]
) -> None:
    page = open_page("/engines/", user=owner, java_script_enabled=False)

    page.get_by_role("button", name="Dark theme").click()

    assert page.url.endswith("/engines/")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_keys_walk_the_list_and_open_a_batch(
    open_page: OpenPage, complaints: list[str], owner: User, batches: dict[str, Batch]
) -> None:
    page = open_page("/batches/", user=owner)

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.get_by_role("link", name="CV parsing")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys on this page")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys on this page")).to_be_hidden()
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_contain_text("CV parsing")
    page.wait_for_load_state()
    page.keyboard.press("b")
    expect(page.get_by_role("heading", level=1)).to_have_text("Batches")
    assert complaints == []


def test_a_poll_keeps_the_focus_in_the_list(
    open_page: OpenPage, owner: User, batches: dict[str, Batch]
) -> None:
    page = open_page("/batches/", user=owner)
    page.keyboard.press("j")

    rows.answer(batches["running"], [rows.chat("more")])
    expect(page.get_by_text("34 of 1,000")).to_be_visible(timeout=12_000)

    expect(page.get_by_role("link", name="CV parsing")).to_be_focused()


def test_hostile_answers_run_nothing(
    open_page: OpenPage, complaints: list[str], owner: User, batches: dict[str, Batch]
) -> None:
    page = open_page(f"/batches/{batches['running'].public_id}/", user=owner)

    expect(page.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible()
    expect(page.locator("img")).to_have_count(0)
    assert complaints == []


def test_sign_in_and_out(
    open_page: OpenPage, complaints: list[str], owner: User
) -> None:
    owner.set_password("a long enough secret")
    owner.save(update_fields=["password"])
    page = open_page("/batches/")

    page.get_by_label("E-mail address").fill("owner@example.com")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    page.get_by_label("Password").fill("a long enough secret")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Batches")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert complaints == []
