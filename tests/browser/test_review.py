# SPDX-License-Identifier: Apache-2.0
"""The review screen by the keyboard; and that nothing typed there is ever lost."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from batchsite.accounts.models import Team, User
from curation import queues, rubrics
from curation.models import Response, ReviewQueue
from curation.questions import read
from tests.conftest import MakeBatch
from tests.site import Site
from tests.web.curation_rows import answered, ready_rubric
from tests.web_server import serve

from .conftest import OpenPage

pytestmark = pytest.mark.browser
ONE_CHOICE = [
    {"key": "good", "type": "label", "title": "It is", "options": ["good", "bad"]}
]
WITH_NOTE = [
    *ONE_CHOICE,
    {"key": "note", "type": "text", "title": "Why?", "required": False},
]
# As a person types.
DELAY = 60


def queue_of(
    team: Team,
    owner: User,
    make_batch: MakeBatch,
    questions: list[Any],
    *texts: str,
    **over: Any,
) -> ReviewQueue:
    """A queue of these answers that asks these questions."""
    asked = rubrics.create_rubric(
        team=team, name="Good", questions=read("q", questions), user=owner
    )
    queue = queues.create_queue(
        team=team,
        name="Nightly",
        kind="single",
        rubric_version=asked.latest,
        user=owner,
        **over,
    )
    batch = answered(make_batch, *texts)
    queues.add_items(queue=queue, subjects=queues.answers_of(batch), user=owner)
    return queue


def said(page: Page, words: str) -> None:
    """The screen says so in its head."""
    expect(page.locator("[data-said]")).to_contain_text(words)


@pytest.mark.django_db(transaction=True)
def test_twenty_items_by_the_keyboard_alone(
    open_page: OpenPage,
    complaints: list[str],
    team: Team,
    owner: User,
    make_batch: MakeBatch,
) -> None:
    texts = [f"answer {n}" for n in range(20)]
    queue = queue_of(team, owner, make_batch, ONE_CHOICE, *texts)
    page = open_page(f"/reviews/{queue.public_id}/review/", user=owner)
    began = time.monotonic()
    waited = 0.0
    for n in range(20):
        expect(page.get_by_text(f"answer {n}", exact=True)).to_be_visible()
        page.keyboard.press("1" if n % 2 else "2", delay=DELAY)
        sent = time.monotonic()
        page.keyboard.press("Control+Enter", delay=DELAY)
        expect(page.get_by_text(f"{n + 1} of 20 done")).to_be_visible()
        waited += time.monotonic() - sent
    took = time.monotonic() - began
    sys.stdout.write(
        f"\n20 items by the keyboard in {took:.1f} s; from submit to the next item"
        f" {waited / 20 * 1000:.0f} ms each, the browser's part included\n"
    )

    expect(page.get_by_role("heading", name="All judged")).to_be_visible()
    answers = [row.answers["good"] for row in Response.objects.order_by("pk")]
    assert answers == ["bad", "good"] * 10
    assert complaints == []


@pytest.mark.django_db(transaction=True)
def test_each_key_does_what_the_sheet_says(
    open_page: OpenPage,
    complaints: list[str],
    team: Team,
    owner: User,
    make_batch: MakeBatch,
) -> None:
    queue = queue_of(
        team, owner, make_batch, WITH_NOTE, "a", "b", "c", guidelines="Read twice."
    )
    page = open_page(f"/reviews/{queue.public_id}/review/", user=owner)
    here = page.locator(".question[data-here]")
    expect(here).to_have_attribute("data-question", "good")

    page.keyboard.press("g")
    expect(page.get_by_text("Read twice.")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    expect(here).to_have_attribute("data-question", "note")
    page.keyboard.press("Enter")
    # In a text the letters are letters.
    page.keyboard.type("sfug 12")
    expect(page.get_by_role("textbox", name="Why?")).to_have_value("sfug 12")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    said(page, "submitted")
    page.keyboard.press("u")
    expect(page.get_by_role("textbox", name="Why?")).to_have_value("sfug 12")
    page.keyboard.press("Control+Enter")
    said(page, "submitted")

    page.keyboard.press("f")
    page.keyboard.type("odd")
    page.keyboard.press("Enter")
    said(page, "flagged")
    page.keyboard.press("s")
    page.keyboard.type("not mine")
    page.keyboard.press("Enter")
    said(page, "skipped")
    page.keyboard.press("Control+z")
    expect(page.locator("#judgement")).to_contain_text("Flagged: odd")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("Submitting again changes it")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#judgement")).to_contain_text("Flagged: odd")
    page.keyboard.press("/")
    page.keyboard.type("row-2")
    page.keyboard.press("Enter")
    expect(page.get_by_text("c", exact=True)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys on this page")).to_be_visible()
    assert complaints == []


@pytest.mark.django_db(transaction=True)
def test_one_question_is_submitted_by_its_answer(
    open_page: OpenPage, team: Team, owner: User, make_batch: MakeBatch
) -> None:
    queue = queue_of(team, owner, make_batch, ONE_CHOICE, "a", "b", auto_advance=True)
    page = open_page(f"/reviews/{queue.public_id}/review/", user=owner)
    page.keyboard.press("1")
    expect(page.get_by_text("1 of 2 done")).to_be_visible()
    page.keyboard.press("2")
    expect(page.get_by_role("heading", name="All judged")).to_be_visible()


@pytest.mark.django_db(transaction=True)
def test_drafts_are_kept_without_a_connection_and_sent_when_it_is_back(
    open_page: OpenPage, team: Team, owner: User, make_batch: MakeBatch
) -> None:
    queue = queue_of(team, owner, make_batch, WITH_NOTE, "a", "b")
    page = open_page(f"/reviews/{queue.public_id}/review/", user=owner)
    note = page.get_by_role("textbox", name="Why?")
    note.fill("first thought")
    said(page, "saved")
    assert Response.objects.get().answers == {"note": "first thought"}

    page.context.set_offline(True)
    note.fill("second thought")
    said(page, "kept in this browser")
    page.keyboard.press("Control+Enter")
    said(page, "not submitted")
    assert Response.objects.get().answers == {"note": "first thought"}
    page.context.set_offline(False)
    said(page, "saved")
    assert Response.objects.get().answers == {"note": "second thought"}
    # What the server never saw is there after the page was closed, too.
    page.context.set_offline(True)
    note.fill("third thought")
    said(page, "kept in this browser")
    page.context.set_offline(False)
    page.reload()
    expect(note).to_have_value("third thought")


@pytest.mark.django_db(transaction=True)
def test_a_correction_is_shown_in_the_text_and_parts_are_marked(
    open_page: OpenPage,
    complaints: list[str],
    team: Team,
    owner: User,
    make_batch: MakeBatch,
) -> None:
    queue = queues.create_queue(
        team=team,
        name="Reports",
        kind="single",
        rubric_version=ready_rubric(team, "report-evaluation", owner),
        user=owner,
    )
    batch = answered(make_batch, "\U0001f600 The sun is cold.")
    queues.add_items(queue=queue, subjects=queues.answers_of(batch), user=owner)
    page = open_page(f"/reviews/{queue.public_id}/review/", user=owner)

    page.get_by_role("textbox", name="The answer as it should be").fill(
        "\U0001f600 The sun is hot."
    )
    expect(page.locator("#correction-diff del")).to_have_text("cold")
    expect(page.locator("#correction-diff ins")).to_have_text("hot")
    page.locator("[data-spans-of]").evaluate(
        """node => {
          const range = document.createRange();
          range.setStart(node.firstChild, 7);
          range.setEnd(node.firstChild, 10);
          getSelection().removeAllRanges();
          getSelection().addRange(range);
        }"""
    )
    page.get_by_role("button", name="Wrong").click()
    expect(page.locator("[data-spans-of] mark")).to_have_text("sun")
    said(page, "saved")
    # Python counts the picture as one letter, where the browser counts two.
    assert Response.objects.get().answers["passages"] == [
        {"start": 6, "end": 9, "label": "wrong"}
    ]
    page.get_by_role("button", name="take away").click()
    expect(page.locator("[data-spans-of] mark")).to_have_count(0)
    assert complaints == []


SEED = """
import django; django.setup()
from django.contrib.auth import SESSION_KEY
from django.test import Client
from batchsite.accounts.people import ensure_member
from curation import queues, rubrics
from curation.questions import read
from jobs import submit
from jobs.models import Batch, BatchFile
from tests.web import rows
from django.utils import timezone
from datetime import timedelta
member = ensure_member(team_name="Blue", email="owner@example.com")
now = timezone.now()
file = BatchFile.objects.create(team=member.team, filename="a.jsonl", purpose="batch", bytes=1, storage_name="x")
batch = Batch.objects.create(team=member.team, owner=member.user, endpoint="/v1/chat/completions", input_file=file, input_file_ref=file.public_id, expires_at=now + timedelta(hours=1), status="in_progress", in_progress_at=now, total=3)
rows.answer(batch, [rows.chat(f"answer {n}") for n in range(3)])
asked = rubrics.create_rubric(team=member.team, name="Good", questions=read("q", QUESTIONS), user=member.user)
queue = queues.create_queue(team=member.team, name="Nightly", kind="single", rubric_version=asked.latest, user=member.user)
queues.add_items(queue=queue, subjects=queues.answers_of(batch), user=member.user)
client = Client(); client.force_login(member.user)
print(queue.public_id, client.cookies["sessionid"].value)
"""


@pytest.fixture
def served_page(chromium: Browser) -> Iterator[Page]:
    """A page of a browser, for a site of its own."""
    context = chromium.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_killed_server_loses_no_judgement(site: Site, served_page: Page) -> None:
    code = SEED.replace("QUESTIONS", repr(WITH_NOTE))
    queue, session = site.python(code).split()[-2:]
    server = serve(site)
    address = f"http://127.0.0.1:{server.port}"
    page = served_page
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": address}])
    page.goto(f"{address}/reviews/{queue}/review/")
    note = page.get_by_role("textbox", name="Why?")
    for n in range(3):
        expect(page.get_by_text(f"answer {n}", exact=True)).to_be_visible()
        note.fill(f"note {n}")
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        # With its children, which would go on for a moment.
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        page.keyboard.press("Control+Enter")
        said(page, "kept in this browser")
        server = serve(site, key=server.key, port=server.port)
        page.keyboard.press("Control+Enter")
        said(page, "submitted")
    expect(page.get_by_role("heading", name="All judged")).to_be_visible()

    found = site.query("SELECT answers_text, state FROM curation_response ORDER BY id")
    assert [row["state"] for row in found] == ["submitted"] * 3
    assert all(f"note {n}" in row["answers_text"] for n, row in enumerate(found))
