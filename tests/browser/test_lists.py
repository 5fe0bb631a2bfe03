# SPDX-License-Identifier: Apache-2.0
"""Home, the list of batches and a batch's tabs, while the database goes on."""

from __future__ import annotations

import csv
import re

import pytest
from playwright.sync_api import Page, expect

from batchsite.accounts.models import User
from jobs import removal
from jobs.models import Batch, SavedView
from tests.conftest import MakeBatch
from tests.web import rows

from .conftest import OpenPage

pytestmark = pytest.mark.browser

TABS = ["", "results/", "errors/", "log/", "config/", "api/", "review/"]


@pytest.fixture
def queue(batches: dict[str, Batch], make_batch: MakeBatch) -> list[Batch]:
    """Three more that run, two of them with a tag."""
    return [
        rows.running(make_batch, name=name, tags=tags)
        for name, tags in (("First", ["may"]), ("Second", ["may"]), ("Third", []))
    ]


def tick(page: Page, name: str) -> None:
    page.get_by_role("checkbox", name=f"choose {name}", exact=True).check()


def polled(page: Page, part: str) -> None:
    """A poll of that address was answered, and what it brought stands in the page."""
    with page.expect_response(
        lambda response: (
            part in response.url
            and response.request.headers.get("hx-request") == "true"
        ),
        timeout=60_000,
    ):
        pass
    page.wait_for_timeout(200)


def test_the_list_filters_and_keeps_the_view(
    open_page: OpenPage, complaints: list[str], owner: User, queue: list[Batch]
) -> None:
    page = open_page("/batches/", user=owner)
    page.keyboard.press("/")
    page.keyboard.type("ir")
    page.keyboard.press("Enter")
    links = page.locator("[data-row-link]")
    expect(links).to_have_text(["Third", "First"])

    page.get_by_label("tag").fill("may")
    page.get_by_role("button", name="Filter").click()
    expect(links).to_have_text(["First"])
    page.get_by_role("button", name="save this view…").click()
    page.get_by_label("Name", exact=True).fill("<b>Of May</b>")
    page.get_by_role("button", name="Save", exact=True).click()

    bar = page.get_by_role("navigation", name="Filter by status")
    view = bar.get_by_role("link", name="<b>Of May</b>")
    expect(view).to_have_attribute("aria-current", "true")
    page.get_by_role("link", name="clear").click()
    expect(page.locator("[data-row-link]")).to_have_count(7)
    view.click()
    expect(links).to_have_text(["First"])
    page.get_by_role("button", name="forget “<b>Of May</b>”").click()
    expect(view).to_have_count(0)
    assert not SavedView.objects.exists()
    assert complaints == []


@pytest.mark.parametrize("scripts", [True, False])
def test_ticked_batches_are_paused_and_cancelled_together(
    open_page: OpenPage,
    complaints: list[str],
    owner: User,
    queue: list[Batch],
    scripts: bool,
) -> None:
    page = open_page("/batches/", user=owner, java_script_enabled=scripts)
    tick(page, "First")
    tick(page, "Third")
    page.get_by_role("button", name="Pause", exact=True).click()

    expect(page.get_by_text("2 batches are paused.")).to_be_visible()
    paused = Batch.objects.filter(paused=True).values_list("name", flat=True)
    assert set(paused) == {"First", "Third"}
    tick(page, "Second")
    tick(page, "Old")
    page.get_by_role("button", name="Cancel…").click()
    expect(page.get_by_role("heading", name="Cancel 2 batches?")).to_be_visible()
    assert not Batch.objects.filter(status="cancelling").exists()
    page.get_by_role("button", name="Cancel", exact=True).click()

    expect(page.get_by_text("1 batch is being cancelled.")).to_be_visible()
    expect(page.get_by_text("1 left as it was: it is completed")).to_be_visible()
    assert Batch.objects.get(status="cancelling").name == "Second"
    assert complaints == []


def test_a_poll_does_not_untick(
    open_page: OpenPage, complaints: list[str], owner: User, queue: list[Batch]
) -> None:
    page = open_page("/batches/", user=owner)
    page.keyboard.press("j")
    page.keyboard.press("x")
    box = page.get_by_role("checkbox", name="choose Third", exact=True)
    expect(box).to_be_checked()

    rows.answer(queue[0], [rows.chat("more")] * 7)
    polled(page, "/batches/")
    polled(page, "/batches/")
    expect(box).to_be_checked()
    expect(page.get_by_text("7 of 1,000")).to_have_count(0)

    # Unticked, the list goes on.
    page.keyboard.press("x")
    expect(page.get_by_text("7 of 1,000")).to_be_visible(timeout=60_000)
    assert complaints == []


def test_the_list_comes_as_csv(
    open_page: OpenPage, owner: User, queue: list[Batch]
) -> None:
    page = open_page("/batches/?tag=may", user=owner)

    with page.expect_download() as download:
        page.get_by_role("link", name="CSV of these").click()

    assert download.value.suggested_filename == "batches.csv"
    text = download.value.path().read_text(encoding="utf-8-sig")
    assert [line["name"] for line in csv.DictReader(text.splitlines())] == [
        "Second",
        "First",
    ]


def test_home_follows_the_database_and_stops_on_demand(
    open_page: OpenPage, complaints: list[str], owner: User, batches: dict[str, Batch]
) -> None:
    batch = batches["running"]
    page = open_page("/", user=owner)
    running = page.get_by_role("region", name="Running now")
    expect(running).to_contain_text("33 of 1,000")
    # The strip stands outside of what the poll replaces, and is swapped along with it.
    tile = page.locator("#home-strip [data-figure=running]")
    expect(tile).to_have_text("1")

    rows.answer(batch, [rows.chat("more")] * 7)
    Batch.objects.filter(pk=batches["validating"].pk).update(
        status="in_progress", total=10, model="tiny", in_progress_at=batch.created_at
    )
    rows.answer(batches["validating"], [rows.chat("a first one")])
    expect(running).to_contain_text("40 of 1,000", timeout=60_000)
    expect(tile).to_have_text("2")
    expect(page.locator("#home-strip")).to_have_count(1)
    expect(page.locator("#home-live")).to_have_count(1)

    page.keyboard.press("p")
    expect(page.locator("[data-fresh-text]")).to_contain_text("not updating")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    rows.answer(batch, [rows.chat("more")])
    page.wait_for_timeout(7000)
    expect(running).to_contain_text("40 of 1,000")
    assert [url for url in asked if "part=" in url] == []

    page.keyboard.press("p")
    expect(running).to_contain_text("41 of 1,000", timeout=60_000)
    assert complaints == []


def test_keys_open_the_tabs_of_a_batch(
    open_page: OpenPage, complaints: list[str], owner: User, batches: dict[str, Batch]
) -> None:
    start = f"/batches/{batches['running'].public_id}/"
    page = open_page(start, user=owner)

    for key in (2, 3, 4, 5, 6, 1):
        page.keyboard.press(str(key))
        expect(page).to_have_url(re.compile(f"{start}{TABS[key - 1]}$"))
        page.wait_for_load_state()
        current = page.locator("#batch-tabs [aria-current=page]")
        expect(current).to_have_attribute("data-key", str(key))
    assert complaints == []


def test_two_windows_never_contradict_the_database(
    open_page: OpenPage,
    complaints: list[str],
    owner: User,
    teammate: User,
    batches: dict[str, Batch],
) -> None:
    batch = batches["running"]
    path = f"/batches/{batch.public_id}/"
    mine = open_page(path, user=owner)
    theirs = open_page(f"{path}results/", user=teammate)

    mine.get_by_role("button", name="Pause").click()
    expect(mine.locator("h1 .chip")).to_have_text("paused")
    expect(theirs.locator("h1 .chip")).to_have_text("paused")
    theirs.get_by_role("button", name="Resume").click()
    expect(theirs.locator("h1 .chip")).to_have_text("running")
    expect(mine.locator("h1 .chip")).to_have_text("running")
    expect(mine.get_by_role("button", name="Pause")).to_be_visible()

    # What a window offers that has not heard of the end does no harm.
    theirs.keyboard.press("p")
    mine.get_by_role("button", name="Cancel…").click()
    mine.get_by_role("button", name="Cancel the batch").click()
    expect(mine.locator("h1 .chip")).to_have_text("cancelling")
    theirs.get_by_role("button", name="Pause").click()
    expect(theirs.locator("h1 .chip")).to_have_text("cancelling")
    batch.refresh_from_db()
    assert (batch.status, batch.paused) == ("cancelling", False)
    theirs.go_back()
    theirs.reload()
    expect(theirs.locator("h1 .chip")).to_have_text("cancelling")
    assert complaints == []


@pytest.mark.parametrize("scripts", [True, False])
def test_a_batch_is_deleted_restored_and_removed(
    open_page: OpenPage,
    complaints: list[str],
    owner: User,
    batches: dict[str, Batch],
    scripts: bool,
) -> None:
    old = batches["completed"]
    address = f"/batches/{old.public_id}/"
    page = open_page(address, user=owner, java_script_enabled=scripts)
    for _ in range(2):
        page.get_by_role("button", name="Delete…").click()
        expect(page.get_by_role("dialog", name="Delete this batch?")).to_be_visible()
        page.get_by_role("button", name="Keep it").click()
        assert Batch.objects.kept().filter(pk=old.pk).exists()
        page.get_by_role("button", name="Delete…").click()
        page.get_by_role("button", name="Delete the batch").click()
        expect(page.get_by_text("For 30 days it can be restored")).to_be_visible()
        page.get_by_role("link", name="deleted batches").click()
        expect(page.get_by_role("row")).to_have_count(2)
        page.get_by_role("button", name=f"Restore {old.name}").click()
        expect(page.get_by_text("The batch is back")).to_be_visible()
        assert page.url.endswith(address)

    removal.delete_batch(batch=old, user=owner)
    page.goto(page.url)
    expect(page.get_by_role("heading", name="This batch is deleted")).to_be_visible()
    page.get_by_role("button", name="Remove now…").click()
    page.get_by_role("button", name="Remove for good").click()
    expect(page.get_by_text("is being removed")).to_be_visible()
    assert not Batch.objects.deleted_for(owner).exists()
    # Its page answered 410, as it should.
    assert [text for text in complaints if "410" not in text] == []
