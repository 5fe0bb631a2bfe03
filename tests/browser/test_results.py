# SPDX-License-Identifier: Apache-2.0
"""The results of a batch in the browser: rows by keys, the drawer, filters, comparing."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import pytest
from django.utils import timezone
from playwright.sync_api import Error, Locator, Page, Route, expect

from batchsite.accounts.models import User
from jobs.models import Batch, BatchRequest
from tests.conftest import MakeBatch
from tests.web import rows

from .conftest import OpenPage

pytestmark = pytest.mark.browser

BODY = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
ANSWERS = 53


def end(batch: Batch) -> None:
    """The batch ends as one does whose requests all have a result."""
    now = timezone.now()
    total = Batch.objects.get(pk=batch.pk).result_seq
    Batch.objects.filter(pk=batch.pk).update(
        status="completed",
        total=total,
        closing_reason="done",
        closed_at=now,
        completed_at=now,
    )


@pytest.fixture
def ended(transactional_db: None, make_batch: MakeBatch) -> Batch:
    """53 answers and 2 failed requests: a page of 50 rows, and another."""
    rows.managed()
    batch = rows.running(make_batch, name="Mails")
    answers = [rows.chat(f"Answer **{place}**") for place in range(ANSWERS)]
    rows.answer(batch, answers, failed=[rows.CONTEXT_ERROR] * 2)
    BatchRequest.objects.filter(batch=batch).update(body=json.dumps(BODY))
    end(batch)
    return batch


@pytest.fixture
def earlier(ended: Batch, make_batch: MakeBatch) -> Batch:
    """A batch of the same custom ids, of which the first answer differs."""
    batch = rows.running(make_batch, name="Earlier")
    rows.answer(batch, [rows.chat("Answer **none**"), rows.chat("Answer **1**")])
    end(batch)
    return batch


def results(batch: Batch) -> str:
    return f"/batches/{batch.public_id}/results/"


def drawer_of(page: Page) -> Locator:
    return page.get_by_role("dialog", name="One result")


def test_rows_are_read_by_keys_alone(
    open_page: OpenPage, complaints: list[str], owner: User, ended: Batch
) -> None:
    page = open_page(results(ended), user=owner)
    drawer = drawer_of(page)

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("#row-0")).to_be_focused()
    page.keyboard.press("Enter")
    expect(drawer.get_by_role("heading", name="row-0")).to_be_visible()
    expect(drawer.locator(".drawer-body strong")).to_have_text("0")
    expect(page.locator("#row-0")).to_have_attribute("aria-current", "true")

    # While the drawer is open, j and k read on; the mark goes along.
    page.keyboard.press("j")
    expect(drawer.get_by_role("heading", name="row-1")).to_be_visible()
    expect(page).to_have_url(re.compile("#row-1$"))
    page.keyboard.press("j")
    expect(drawer.get_by_role("heading", name="row-2")).to_be_visible()
    page.keyboard.press("k")
    expect(drawer.get_by_role("heading", name="row-1")).to_be_visible()
    expect(page.locator("[data-row-link][aria-current]")).to_have_count(1)

    page.keyboard.press("x")
    expect(
        page.get_by_role("checkbox", name="choose row-1", exact=True)
    ).to_be_checked()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    # Back at the row that was read last, and the address names none.
    expect(page.locator("#row-1")).to_be_focused()
    assert "#" not in page.url
    page.keyboard.press("x")
    expect(page.locator("td input:checked")).to_have_count(0)
    assert complaints == []


def test_a_late_answer_does_not_replace_the_row_that_was_asked_for_last(
    open_page: OpenPage, owner: User, ended: Batch
) -> None:
    page = open_page(results(ended), user=owner)
    drawer = drawer_of(page)
    page.locator("#row-0").click()
    expect(drawer.get_by_role("heading", name="row-0")).to_be_visible()
    held: list[Route] = []
    page.route("**/results/1/", lambda route: held.append(route))

    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(drawer.get_by_role("heading", name="row-2")).to_be_visible()
    # The page need not be interested any more.
    with suppress(Error):
        held[0].continue_()
    page.wait_for_timeout(1500)

    expect(drawer.get_by_role("heading", name="row-2")).to_be_visible()
    assert page.url.endswith("#row-2")


def test_the_address_names_the_row_that_is_open(
    open_page: OpenPage, complaints: list[str], owner: User, ended: Batch
) -> None:
    page = open_page(f"{results(ended)}?outcome=completed&after=49", user=owner)
    expect(page.get_by_role("row")).to_have_count(1 + ANSWERS - 50)

    page.locator("#row-51").click()
    expect(drawer_of(page).get_by_role("heading", name="row-51")).to_be_visible()
    assert page.url.endswith("?outcome=completed&after=49#row-51")
    page.reload()

    expect(drawer_of(page).get_by_role("heading", name="row-51")).to_be_visible()
    page.get_by_role("button", name="close").click()
    expect(page.locator("#row-51")).to_be_focused()
    assert complaints == []


def test_a_new_tab_is_still_the_browsers(
    open_page: OpenPage, owner: User, ended: Batch
) -> None:
    page = open_page(results(ended), user=owner)

    with page.context.expect_page() as opened:
        page.locator("#row-1").click(modifiers=["ControlOrMeta"])

    tab = opened.value
    expect(tab.locator(".reader h2")).to_have_text("row-1")
    expect(drawer_of(page)).to_be_hidden()


def test_tabs_inside_the_drawer_keep_the_row(
    open_page: OpenPage, complaints: list[str], owner: User, ended: Batch
) -> None:
    page = open_page(results(ended), user=owner)
    drawer = drawer_of(page)
    page.locator("#row-1").click()

    drawer.get_by_role("link", name="Raw").click()
    expect(drawer.locator("#result-text")).to_have_text("Answer **1**")
    expect(drawer.locator("[aria-current=page]")).to_have_text("Raw")
    drawer.get_by_role("link", name="JSON").click()
    expect(drawer.locator("#result-json")).to_contain_text('"content": "Answer **1**"')
    drawer.get_by_role("link", name="Request").click()
    expect(drawer.get_by_text("Hi", exact=True)).to_be_visible()
    drawer.get_by_role("link", name="Provenance").click()
    expect(drawer.locator("dl")).to_be_visible()
    expect(drawer.get_by_role("heading", name="row-1")).to_be_visible()

    page.keyboard.press("j")
    expect(drawer.get_by_role("heading", name="row-2")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#row-2")).to_be_focused()
    assert complaints == []


def test_escape_closes_the_sheet_before_the_drawer_under_it(
    open_page: OpenPage, owner: User, ended: Batch
) -> None:
    page = open_page(results(ended), user=owner)
    page.locator("#row-0").click()
    expect(drawer_of(page)).to_be_visible()
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys on this page")
    expect(sheet).to_be_visible()

    # Behind an open sheet nothing moves.
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(drawer_of(page).get_by_role("heading", name="row-0")).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer_of(page)).to_be_hidden()


def test_the_keyboard_filters_and_searches(
    open_page: OpenPage, complaints: list[str], owner: User, ended: Batch
) -> None:
    page = open_page(results(ended), user=owner)
    page.keyboard.press("/")
    words = page.get_by_role("textbox", name="words")
    expect(words).to_be_focused()
    # Letters in a field are letters, though they are keys of the page.
    page.keyboard.type("**7j")
    expect(words).to_have_value("**7j")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile("q="))
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("#row-7")).to_be_visible()
    page.get_by_label("words").fill("nowhere")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No result matches this filter.")).to_be_visible()
    page.get_by_role("link", name="Show all results").click()
    page.get_by_label("status").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    assert complaints == []


def test_pages_of_results_by_key(
    open_page: OpenPage, complaints: list[str], owner: User, ended: Batch
) -> None:
    page = open_page(results(ended), user=owner)
    expect(page.locator("tbody tr")).to_have_count(50)

    page.keyboard.press("ArrowRight")

    expect(page.locator("#row-50")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(5)
    page.get_by_role("link", name="First page").click()
    expect(page.locator("#row-0")).to_be_visible()
    assert complaints == []


def test_another_batch_stands_beside(
    open_page: OpenPage,
    complaints: list[str],
    owner: User,
    ended: Batch,
    earlier: Batch,
) -> None:
    page = open_page(results(ended), user=owner)
    page.get_by_text(re.compile("^Beside another")).click()
    page.get_by_label("Batch with the same custom ids").fill(earlier.public_id)
    page.get_by_role("button", name="Compare").click()

    first = page.get_by_role("row").filter(has=page.locator("#row-0"))
    expect(first.locator(".same")).to_have_text("differs")
    second = page.get_by_role("row").filter(has=page.locator("#row-1"))
    expect(second.locator(".same")).to_have_text("the same")
    third = page.get_by_role("row").filter(has=page.locator("#row-2"))
    expect(third).to_contain_text("no answer there")
    page.locator("#row-0").click()
    drawer = drawer_of(page)
    expect(drawer.locator("del")).to_contain_text("0")
    expect(drawer.locator("ins")).to_contain_text("none")
    page.keyboard.press("j")
    expect(drawer.get_by_text("Both answers are the same")).to_be_visible()
    page.keyboard.press("Escape")

    page.get_by_role("link", name="stop comparing").click()
    expect(page.locator(".same")).to_have_count(0)
    assert complaints == []


@pytest.mark.parametrize("scripts", [True, False])
def test_chosen_rows_run_again(
    open_page: OpenPage,
    complaints: list[str],
    owner: User,
    ended: Batch,
    scripts: bool,
) -> None:
    page = open_page(results(ended), user=owner, java_script_enabled=scripts)
    for row in ("row-1", "row-3"):
        page.get_by_role("checkbox", name=f"choose {row}", exact=True).check()
    page.get_by_role("button", name="Run the chosen rows again…").click()
    expect(page.get_by_role("heading", name="Run again: ")).to_contain_text("2")
    page.get_by_role("button", name="Run them again").click()

    expect(page.get_by_text("2 requests of “Mails” run once more")).to_be_visible()
    child = Batch.objects.get(parent=ended)
    assert page.url.endswith(f"/batches/{child.public_id}/")
    ended.refresh_from_db()
    # The batch itself stays as it is.
    assert (ended.status, ended.result_seq) == ("completed", ANSWERS + 2)
    assert complaints == []


def test_new_results_do_not_disturb_who_reads(
    open_page: OpenPage, complaints: list[str], owner: User, batches: dict[str, Batch]
) -> None:
    batch = batches["running"]
    page = open_page(results(batch), user=owner)
    page.locator("#row-1").click()
    expect(drawer_of(page).get_by_role("heading", name="row-1")).to_be_visible()

    rows.answer(batch, [rows.chat("more")] * 7)

    expect(page.get_by_text("7 new results, show")).to_be_visible()
    expect(page.locator("[data-figure=tab-results]")).to_have_text("40")
    expect(page.locator("tbody tr")).to_have_count(33)
    expect(drawer_of(page).get_by_role("heading", name="row-1")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_text("7 new results, show").click()
    expect(page.locator("tbody tr")).to_have_count(40)
    assert complaints == []
