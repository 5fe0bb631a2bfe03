# SPDX-License-Identifier: Apache-2.0
"""What the pages of models and engines do by mouse and by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import expect
from pytest_django import Settings

from batchsite.accounts.models import User
from jobs.models import Batch, Engine, ServedModel
from tests.conftest import MakeBatch
from tests.web import rows
from tests.web.model_rows import models_that_ran

from .conftest import OpenPage
from .test_pages import sound_on_all_screens

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scripts", [True, False])
def test_a_model_is_added_changed_and_removed(
    open_page: OpenPage,
    complaints: list[str],
    staff: User,
    transactional_db: None,
    settings: Settings,
    tmp_path: Path,
    scripts: bool,
) -> None:
    """With and without JavaScript."""
    settings.BATCHSITE_CACHE = tmp_path
    rows.managed()
    page = open_page("/models/", user=staff, java_script_enabled=scripts)
    page.get_by_role("link", name="New model").click()
    page.get_by_label("Name").fill("qwen")
    page.get_by_label("Source").fill("Qwen/Qwen3-8B")
    page.get_by_label("Engine arguments", exact=True).fill("--port 1")
    page.get_by_role("button", name="Add the model").click()
    expect(page.get_by_text("--port is set by Batchsite itself.")).to_be_visible()
    page.get_by_label("Engine arguments", exact=True).fill("--seed 1")
    page.get_by_role("button", name="Check it and").click()
    expect(page.get_by_text("the files are not here yet")).to_be_visible()
    assert not ServedModel.objects.filter(name="qwen").exists()
    if scripts:
        assert sound_on_all_screens(page) == []
    page.get_by_label("gpu0").check()
    page.get_by_role("button", name="Add the model").click()
    expect(page.get_by_role("heading", name="qwen")).to_be_visible()
    model = ServedModel.objects.get(name="qwen")
    assert [engine.name for engine in model.engines.all()] == ["gpu0"]

    page.get_by_role("link", name="Change").click()
    page.get_by_label("gpu0").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("any may load it")).to_be_visible()
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("button", name="Enable")).to_be_visible()
    page.get_by_role("button", name="Remove…").click()
    page.get_by_role("button", name="Remove the model").click()
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    assert not ServedModel.objects.filter(name="qwen").exists()
    assert complaints == []


def test_a_test_shows_its_answer_by_itself(
    open_page: OpenPage, complaints: list[str], owner: User, transactional_db: None
) -> None:
    rows.managed()
    rows.control_worker()
    model = ServedModel.objects.get()
    page = open_page(f"/models/{model.pk}/", user=owner)
    page.get_by_role("button", name="Send one short request").click()
    expect(page.get_by_text("The test runs")).to_be_visible()
    batch = Batch.objects.get()
    Batch.objects.update(total=1)
    rows.answer(batch, [rows.chat("<img src=x onerror=alert(1)> Hello!")])
    now = timezone.now()
    Batch.objects.update(
        status="completed", completed_at=now, closed_at=now, closing_reason="done"
    )
    answer = page.get_by_text("<img src=x onerror=alert(1)> Hello!")
    expect(answer).to_be_visible(timeout=20_000)
    assert sound_on_all_screens(page) == []
    assert complaints == []


def test_the_list_is_walked_by_keys(
    open_page: OpenPage,
    complaints: list[str],
    staff: User,
    transactional_db: None,
    make_batch: MakeBatch,
) -> None:
    models_that_ran(make_batch)
    page = open_page("/models/", user=staff)
    for _ in range(3):
        page.keyboard.press("j")
    expect(page.get_by_role("link", name="tiny", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="tiny", exact=True)).to_be_visible()
    page.get_by_text("As a table").click()
    expect(page.get_by_role("cell", name="1 x NVIDIA L4").first).to_be_visible()
    assert sound_on_all_screens(page) == []
    page.keyboard.press("e")
    expect(page.get_by_label("Source")).to_be_visible()
    assert complaints == []


@pytest.mark.parametrize("scripts", [True, False])
def test_an_engine_is_paused_with_a_reason_and_restarted(
    open_page: OpenPage,
    complaints: list[str],
    staff: User,
    transactional_db: None,
    scripts: bool,
) -> None:
    """The question stays open, with what was typed, while the cards are updated."""
    rows.managed(generation=2)
    page = open_page("/engines/", user=staff, java_script_enabled=scripts)
    page.get_by_role("button", name="Pause, drain or restart… gpu0").click()
    reason = page.get_by_label("Reason")
    reason.fill("firmware update")
    if scripts:
        Engine.objects.update(in_flight=17)
        expect(page.get_by_text("17", exact=True)).to_be_visible(timeout=20_000)
        assert sound_on_all_screens(page) == []
    expect(reason).to_have_value("firmware update")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_text(f"paused by {staff.email}")).to_be_visible()
    expect(page.get_by_text("firmware update", exact=True)).to_be_visible()
    page.get_by_role("button", name="Resume gpu0").click()
    Engine.objects.update(host_heartbeat=timezone.now())
    page.get_by_role("button", name="Pause, drain or restart… gpu0").click()
    page.get_by_role("button", name="Restart", exact=True).click()
    expect(page.get_by_text(f"restart asked for by {staff.email}")).to_be_visible()
    assert Engine.objects.get().restart_of == 2
    page.get_by_text("Loads and swaps as a table").click()
    expect(page.get_by_role("cell", name="tiny")).to_be_visible()
    if scripts:
        assert sound_on_all_screens(page) == []
    assert complaints == []
