# SPDX-License-Identifier: Apache-2.0
"""Whoever has JavaScript switched off reads everything."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from batchsite.accounts.models import User
from jobs.models import Batch
from tests.web import rows

from .conftest import OpenPage

pytestmark = pytest.mark.browser


def test_from_home_to_one_result(
    open_page: OpenPage, complaints: list[str], owner: User, batches: dict[str, Batch]
) -> None:
    batch = batches["running"]
    rows.answer(batch, [rows.chat(f"late answer {place}") for place in range(30)])
    page = open_page("/", user=owner, java_script_enabled=False)
    expect(page.get_by_role("region", name="Running now")).to_contain_text("63 of")

    main = page.get_by_role("navigation", name="Main")
    main.get_by_role("link", name="Batches").click()
    page.get_by_label("name or id").fill("CV")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="CV parsing").click()
    tabs = page.get_by_role("navigation", name="About this batch")
    tabs.get_by_role("link", name=re.compile("^Results")).click()

    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Next").click()
    expect(page.locator("tbody tr")).to_have_count(13)
    page.get_by_role("link", name="First page").click()
    page.get_by_label("words").fill("late answer 7")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="row-40").click()

    expect(page.locator("article h2")).to_have_text("row-40")
    expect(page.get_by_text("late answer 7")).to_be_visible()
    reader = page.get_by_role("navigation", name="What to read of the result")
    for name in ("Raw", "JSON", "Request", "Provenance"):
        reader.get_by_role("link", name=name).click()
        expect(reader.locator("[aria-current=page]")).to_have_text(name)
        expect(page.locator("article h2")).to_have_text("row-40")
    page.get_by_role("link", name="All results").click()
    expect(page.locator("tbody tr")).to_have_count(50)
    assert complaints == []


def test_the_other_tabs_of_a_batch(
    open_page: OpenPage, complaints: list[str], owner: User, batches: dict[str, Batch]
) -> None:
    start = f"/batches/{batches['running'].public_id}/"
    page = open_page(start, user=owner, java_script_enabled=False)
    tabs = page.get_by_role("navigation", name="About this batch")

    tabs.get_by_role("link", name=re.compile("^Errors")).click()
    expect(page.get_by_text("The context is too long.").first).to_be_visible()
    tabs.get_by_role("link", name="Log").click()
    expect(page).to_have_url(re.compile("/log/$"))
    expect(page.get_by_role("main")).to_contain_text("warnings")
    tabs.get_by_role("link", name="Config").click()
    expect(page).to_have_url(re.compile("/config/$"))
    expect(page.get_by_role("main")).to_contain_text("/v1/chat/completions")
    tabs.get_by_role("link", name="API").click()
    page.get_by_role("link", name="python").click()
    expect(page.get_by_role("main")).to_contain_text("from openai import OpenAI")
    assert complaints == []
