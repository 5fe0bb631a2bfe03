# SPDX-License-Identifier: Apache-2.0
"""What models answer is written by nobody that anyone trusts: pages show it, no more."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from batchsite.accounts.models import User
from jobs.models import Batch
from tests.conftest import MakeBatch
from tests.web import rows

from .conftest import OpenPage

pytestmark = pytest.mark.browser

ELSEWHERE = "http://elsewhere.example"
MARKUP = f"""<script>window.ran = 1</script>
<img src="{ELSEWHERE}/a.png" onerror="window.ran = 2">
<svg onload="window.ran = 3"><use href="{ELSEWHERE}/b.svg#x"></use></svg>
<iframe src="{ELSEWHERE}/c" srcdoc="<script>parent.ran = 4</script>"></iframe>
<style>@import "{ELSEWHERE}/d.css";</style><link rel="stylesheet" href="{ELSEWHERE}/e">
<form action="{ELSEWHERE}/f" hx-get="{ELSEWHERE}/g" hx-trigger="load"><button>x</button>
<a href="javascript:window.ran = 5" id="row-drawer" data-key="j">click me</a>
"""
MARKDOWN = f"""![picture]({ELSEWHERE}/h.png) ![ref][r] <{ELSEWHERE}/i>
[script](javascript:window.ran=6) [data](data:text/html,<script>window.ran=7</script>)
[vb](vbscript:x) [good]({ELSEWHERE}/j)

[r]: {ELSEWHERE}/k.png
"""
BIDI = "pay \u202e001 \u2066to\u2069 \u200fme\u0000\u0007"
ANSI = "\x1b[31mred\x1b[0m \x1b]8;;http://elsewhere.example/l\x07link\x1b]8;;\x07"
LARGE = "<b>w</b> " * 120_000
# Each is the text of an answer; the last bodies are no answers of an engine at all.
TEXTS = [
    MARKUP,
    MARKDOWN,
    BIDI,
    ANSI,
    LARGE,
    "]]>--></pre></div></dialog>{{ 7|add:1 }}",
]
BODIES = ['{"choices": [{"message"', '{"choices": 7}', "[" * 5000, '"<img src=x>"']
VIEWS = ("rendered", "raw", "json", "request", "provenance")


@pytest.fixture
def hostile(transactional_db: None, make_batch: MakeBatch) -> Batch:
    """A batch of a hostile name that has these answers, and failures of the kind."""
    batch = rows.running(make_batch, name=MARKUP[:200], tags=["<b>x</b>"])
    error = json.dumps({"error": {"message": MARKUP, "code": MARKUP[:60]}})
    rows.answer(batch, [*map(rows.chat, TEXTS), *BODIES], failed=[error])
    return batch


def watched(page: Page) -> list[str]:
    """The addresses that the page asks for from now on, outside the site."""
    asked: list[str] = []
    host = urlsplit(page.url).netloc

    def note(url: str) -> None:
        if urlsplit(url).netloc != host:
            asked.append(url)

    page.context.on("request", lambda request: note(request.url))
    page.context.on("page", lambda opened: asked.append(opened.url))
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    return asked


def nothing_ran(page: Page) -> None:
    """No script of an answer ran, and nothing in the page would load or send."""
    assert page.evaluate("window.ran") is None
    inside = "main, dialog"
    assert page.locator(inside).locator("img, iframe, script, style, link").count() == 0
    for address in (
        page.locator(inside)
        .locator("a[href]")
        .evaluate_all("links => links.map(link => link.href)")
    ):
        assert address.startswith(("http://", "https://")), address
    ids = page.locator("[id]").evaluate_all("nodes => nodes.map(node => node.id)")
    assert len(ids) == len(set(ids))


def test_hostile_answers_are_shown_and_nothing_more(
    open_page: OpenPage, complaints: list[str], owner: User, hostile: Batch
) -> None:
    page = open_page(f"/batches/{hostile.public_id}/results/", user=owner)
    asked = watched(page)
    page.reload()
    nothing_ran(page)

    drawer = page.get_by_role("dialog", name="One result")
    page.locator("#row-0").click()
    for place in range(hostile.result_seq):
        expect(
            drawer.get_by_role("heading", name=f"row-{place}", exact=True)
        ).to_be_visible()
        for name in VIEWS:
            with page.expect_response(lambda response: "view=" in response.url):
                drawer.locator(f'.drawer-tabs a[href*="view={name}"]').click()
            current = drawer.locator(".drawer-tabs [aria-current=page]")
            expect(current).to_have_text(name, ignore_case=True)
            nothing_ran(page)
        page.keyboard.press("j")

    assert asked == []
    assert complaints == []


def test_what_turns_or_colours_text_stays_inside_it(
    open_page: OpenPage, owner: User, hostile: Batch
) -> None:
    page = open_page(f"/batches/{hostile.public_id}/results/", user=owner)
    drawer = page.get_by_role("dialog", name="One result")
    body = drawer.locator(".drawer-body")

    page.locator("#row-2").click()
    expect(body).to_contain_text("001")
    # Controls are replaced. Marks of direction are part of some languages: they turn
    # nothing but the text that they stand in.
    for control in ("\x00", "\x07", "\x1b"):
        assert control not in page.locator("main").inner_text()
    for part in page.locator(".hostile:visible").all():
        turned = part.evaluate("part => getComputedStyle(part).unicodeBidi")
        assert turned in ("isolate", "plaintext", "isolate-override")
    page.keyboard.press("j")
    expect(body).to_contain_text("\N{REPLACEMENT CHARACTER}[31mred")


def test_a_very_long_answer_is_cut_and_can_be_had_whole(
    open_page: OpenPage, complaints: list[str], owner: User, hostile: Batch
) -> None:
    page = open_page(f"/batches/{hostile.public_id}/results/", user=owner)
    drawer = page.get_by_role("dialog", name="One result")
    page.locator("#row-4").click()

    expect(drawer.get_by_text("The first 20,000 characters")).to_be_visible()
    drawer.get_by_role("link", name="Raw").click()
    expect(drawer.get_by_text("The first 60,000 characters")).to_be_visible()
    with page.expect_download() as download:
        drawer.get_by_role("link", name="download the whole answer").click()
    line = json.loads(download.value.path().read_text())
    text = line["response"]["body"]["choices"][0]["message"]["content"]
    assert text == LARGE
    assert complaints == []


@pytest.mark.parametrize("tab", ["", "errors/", "log/", "config/", "api/", "retry/"])
def test_no_tab_runs_what_it_shows(
    open_page: OpenPage,
    complaints: list[str],
    owner: User,
    hostile: Batch,
    tab: str,
) -> None:
    now = hostile.created_at
    Batch.objects.filter(pk=hostile.pk).update(
        status="completed",
        total=hostile.result_seq,
        closing_reason="done",
        closed_at=now,
        completed_at=now,
    )
    page = open_page("/favicon.ico", user=owner)
    asked = watched(page)

    page.goto(f"/batches/{hostile.public_id}/{tab}")

    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>")
    nothing_ran(page)
    assert asked == []
    assert complaints == []
