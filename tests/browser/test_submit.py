# SPDX-License-Identifier: Apache-2.0
"""From a file to a batch in the browser: dropped, pasted, by keys, without scripts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from batchsite.accounts.models import User
from jobs.models import Batch, BatchFile, ServedModel, Upload, UploadPart
from jobs.web import new_uploads
from tests.inputs import chat_lines

from .conftest import OpenPage
from .test_pages import SCREENS, sound_on_all_screens

pytestmark = pytest.mark.browser

NEW = "/batches/new/"
CREATE = "Create the batch of 3 requests"


@pytest.fixture(autouse=True)
def tiny(transactional_db: None) -> ServedModel:
    return ServedModel.objects.create(name="tiny", source="/m")


def payload(name: str, content: bytes) -> Any:
    """A file for a file input."""
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def choose(page: Page, name: str, content: bytes) -> None:
    page.locator("#start_file").set_input_files(payload(name, content))


def drop(page: Page, name: str, text: str) -> None:
    """Drop a file on the page, as a person does with the mouse."""
    page.evaluate(
        """([name, text]) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([text], name));
          for (const kind of ["dragover", "drop"]) {
            const init = { dataTransfer, bubbles: true, cancelable: true };
            document.querySelector("[data-drop]").dispatchEvent(new DragEvent(kind, init));
          }
        }""",
        [name, text],
    )


def test_a_dropped_file_becomes_a_batch(
    open_page: OpenPage, complaints: list[str], owner: User
) -> None:
    page = open_page("/batches/", user=owner)
    page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1)).to_have_text("New batch")

    drop(page, "mails.jsonl", chat_lines(3).decode())

    expect(page.get_by_role("heading", name="Every line is good")).to_be_visible()
    assert not Batch.objects.exists()
    page.get_by_role("textbox", name="Name").fill("Mails of May")
    page.get_by_role("button", name=CREATE).click()
    expect(page.locator("h1")).to_contain_text("Mails of May")
    batch = Batch.objects.get()
    assert page.url.endswith(f"/batches/{batch.public_id}/")
    assert batch.input_file is not None
    assert batch.input_file.filename == "mails.jsonl"
    assert complaints == []


def test_bad_lines_are_mended_and_pasted(
    open_page: OpenPage, complaints: list[str], owner: User
) -> None:
    page = open_page(NEW, user=owner)
    good = chat_lines(3).decode()

    drop(page, "a.jsonl", good + "<img src=x onerror=alert(1)>\n")
    expect(page.get_by_role("heading", name="1 error in 4 lines")).to_be_visible()
    expect(page.get_by_role("group", name="Line 4 and its neighbours")).to_contain_text(
        "<img src=x"
    )
    expect(page.get_by_role("button", name="Create the batch")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("link", name="all of them, as JSONL").click()
    assert json.loads(download.value.path().read_text())["line"] == 4

    page.get_by_role("link", name="upload it again").click()
    page.get_by_label("Or paste").fill(good)
    page.get_by_role("button", name="Check the requests").click()
    expect(page.get_by_role("heading", name="Every line is good")).to_be_visible()
    assert complaints == []


def test_a_broken_upload_goes_on_and_shows_how_far_it_is(
    open_page: OpenPage, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_uploads, "PIECE_BYTES", 100_000)
    content = chat_lines(5000)
    page = open_page(NEW, user=owner)
    sent: list[str] = []

    def third_is_lost(route: Route) -> None:
        sent.append(route.request.url)
        if len(sent) == 3:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/parts/", third_is_lost)
    choose(page, "large.jsonl", content)

    words = page.locator("[data-progress-words]")
    expect(words).to_contain_text("The connection was lost. Trying again in 1 s.")
    bar = page.get_by_role("progressbar", name="Upload")
    assert 0 < bar.evaluate("bar => bar.value") < 1
    expect(page.get_by_role("heading", name="Every line is good")).to_be_visible(
        timeout=60_000
    )
    pieces = -(-len(content) // 100_000)
    assert len(sent) == pieces + 1
    assert BatchFile.objects.get().bytes == len(content)


def test_after_a_reload_the_same_file_goes_on(
    open_page: OpenPage, owner: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(new_uploads, "PIECE_BYTES", 100_000)
    # On disk: the browser knows it again by its name, size and time.
    file = tmp_path / "large.jsonl"
    file.write_bytes(chat_lines(2000))
    page = open_page(NEW, user=owner)
    sent: list[str] = []

    def no_third(route: Route) -> None:
        sent.append(route.request.url)
        if len(sent) > 2:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/parts/", no_third)
    page.locator("#start_file").set_input_files(file)
    expect(page.locator("[data-progress-words]")).to_contain_text("Trying again")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    page.reload()
    expect(page.get_by_text("“large.jsonl” stopped at")).to_be_visible()
    page.unroute("**/parts/")

    before = UploadPart.objects.count()
    assert before == 2
    uploads: list[str] = []
    page.on("request", lambda request: uploads.append(request.url))
    page.locator("#start_file").set_input_files(file)

    expect(page.get_by_role("heading", name="Every line is good")).to_be_visible(
        timeout=60_000
    )
    pieces = -(-file.stat().st_size // 100_000)
    assert sum(url.endswith("/parts/") for url in uploads) == pieces - 2


def test_a_stopped_upload_is_thrown_away(
    open_page: OpenPage, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_uploads, "PIECE_BYTES", 100_000)
    page = open_page(NEW, user=owner)
    sent: list[str] = []

    def no_second(route: Route) -> None:
        sent.append(route.request.url)
        if len(sent) > 1:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/parts/", no_second)
    choose(page, "large.jsonl", chat_lines(2000))
    expect(page.locator("[data-progress-words]")).to_contain_text("Trying again")
    page.get_by_role("button", name="Stop").click()
    with page.expect_response("**/cancel/"):
        page.get_by_role("button", name="Throw away").click()

    expect(page.get_by_role("progressbar")).to_be_hidden()
    assert Upload.objects.get().status == "cancelled"
    page.reload()
    expect(page.get_by_text("stopped at")).to_be_hidden()


def test_a_refused_file_says_why(open_page: OpenPage, owner: User) -> None:
    page = open_page(NEW, user=owner)
    words = page.locator("[data-progress-words]")

    choose(page, "a.txt", b"x")
    expect(words).to_contain_text("ends in .jsonl, .csv")
    choose(page, "a.jsonl", b"x\n")
    expect(words).to_contain_text("line 1 is not valid JSON")
    # Another file follows at once.
    choose(page, "a.jsonl", chat_lines(1))
    expect(page.get_by_role("heading", name="Every line is good")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_table_becomes_a_batch(
    open_page: OpenPage, complaints: list[str], owner: User, scripts: bool
) -> None:
    page = open_page(NEW, user=owner, java_script_enabled=scripts)
    choose(page, "cities.csv", b"id,city\na,Bonn\nb,\nc,Rome\nd,Oslo\n")
    if not scripts:
        page.get_by_role("button", name="Check the requests").click()
    expect(page.get_by_role("heading", name="Its columns")).to_be_visible()

    page.get_by_label("Prompt", exact=True).fill("Where is {town}?")
    page.get_by_role("button", name="Try it on the rows").click()
    expect(page.get_by_text("The table has no column “town”")).to_be_visible()
    page.get_by_label("Prompt", exact=True).fill("Where is {city}?")
    page.get_by_label("custom_id").select_option("id")
    page.get_by_role("button", name="Try it on the rows").click()
    expect(page.get_by_role("heading", name="3 of 4 rows")).to_be_visible()
    expect(page.get_by_text("Where is Bonn?")).to_be_visible()
    expect(page.get_by_text("The column 'city' is empty.")).to_be_visible()
    page.get_by_label("Leave out the rows").check()
    page.get_by_role("button", name="Make the requests").click()

    expect(page.get_by_role("heading", name="Every line is good")).to_be_visible()
    page.get_by_role("button", name=CREATE).click()
    expect(page.locator("h1")).to_contain_text("cities.jsonl")
    assert Batch.objects.count() == 1
    assert complaints == []


def test_the_form_works_without_scripts(open_page: OpenPage, owner: User) -> None:
    page = open_page(NEW, user=owner, java_script_enabled=False)

    choose(page, "a.jsonl", chat_lines(3))
    page.get_by_role("button", name="Check the requests").click()
    page.get_by_label("Time, in hours").fill("0.1")
    page.get_by_role("button", name=CREATE).click()
    expect(page.get_by_text("Choose a number between 1 and 720.")).to_be_visible()
    page.get_by_label("Time, in hours").fill("2")
    page.get_by_role("button", name=CREATE).click()

    expect(page.locator("h1")).to_contain_text("a.jsonl")
    assert Batch.objects.count() == 1


def test_the_keyboard_suffices(open_page: OpenPage, owner: User) -> None:
    page = open_page("/batches/", user=owner)
    # From the start: the browser is told of it some time after this line.
    page.on(
        "filechooser",
        lambda chooser: chooser.set_files(payload("a.jsonl", chat_lines(3))),
    )
    page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1)).to_have_text("New batch")
    page.wait_for_load_state()
    page.keyboard.press("o")
    expect(page.get_by_role("heading", name="Every line is good")).to_be_visible()
    page.wait_for_load_state()

    page.get_by_role("textbox", name="Name").focus()
    page.keyboard.type("By keys")
    # Enter in a field is the first button of the form.
    page.keyboard.press("Enter")

    expect(page.locator("h1")).to_contain_text("By keys")


def test_a_clone_marks_what_is_changed(
    open_page: OpenPage, complaints: list[str], owner: User, make_batch: Any
) -> None:
    batch = make_batch(name="Mails", metadata={"a": "1", "b": "2"})
    page = open_page(f"{NEW}?clone={batch.public_id}", user=owner)
    expect(page.get_by_text("the same file and the same options")).to_be_visible()
    expect(page.locator(".is-changed")).to_have_count(0)

    page.get_by_role("textbox", name="Name").fill("Others")
    expect(page.get_by_text("changed; was Mails")).to_be_visible()
    page.get_by_label("Begin paused").check()
    expect(page.locator(".is-changed")).to_have_count(2)
    page.get_by_role("textbox", name="Name").fill("Mails")
    expect(page.get_by_text("changed; was Mails")).to_be_hidden()
    assert complaints == []


def test_what_the_forms_answer_is_sound(
    open_page: OpenPage, complaints: list[str], owner: User
) -> None:
    page = open_page(NEW, user=owner, **SCREENS["light"])
    choose(page, "a.txt", b"x")
    expect(page.locator("[data-progress-words]")).to_contain_text("ends in")
    assert sound_on_all_screens(page) == []

    complaints.clear()
    choose(page, "a.csv", b"id,city\na,Bonn\nb,\n" + b"c,\n" * 40)
    page.get_by_label("Prompt", exact=True).fill("Where is {city}?")
    page.get_by_role("button", name="Make the requests").click()
    expect(page.locator("form [role=alert]")).to_be_focused()
    assert sound_on_all_screens(page) == []
    page.goto(NEW)
    choose(page, "a.jsonl", chat_lines(3))
    page.get_by_label("Time, in hours").fill("0.1")
    page.get_by_role("button", name=CREATE).click()
    expect(page.locator("form [role=alert]")).to_be_focused()
    assert sound_on_all_screens(page) == []
    assert complaints == []
