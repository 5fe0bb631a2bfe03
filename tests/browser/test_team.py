# SPDX-License-Identifier: Apache-2.0
"""Keys and people from end to end: by hand in the browser, by OpenAI's own client."""

from __future__ import annotations

import re

import openai
import pytest
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from batchsite.accounts.models import ApiKey, Team, User
from jobs.models import ServedModel

from .conftest import OpenPage
from .test_pages import SCREENS, sound

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("screen", SCREENS)
def test_sheets_and_refused_forms_are_sound(
    open_page: OpenPage, complaints: list[str], people: Team, owner: User, screen: str
) -> None:
    page = open_page(f"/teams/{people.pk}/people/", user=owner, **SCREENS[screen])
    page.get_by_role("button", name="Remove… teammate@example.com").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert sound(page) == []
    page.get_by_role("button", name="Keep").click()

    page.get_by_label("E-mail address").fill("nobody")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_label("E-mail address")).to_be_focused()
    expect(page.get_by_text("Enter a valid email address.")).to_be_visible()
    assert sound(page) == []

    page.goto(f"/teams/{people.pk}/keys/new/")
    page.get_by_label("Only what I choose").check()
    page.get_by_label("Stops working").select_option("date")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_text("Choose the last day")).to_be_visible()
    assert sound(page) == []
    assert complaints == []


def test_a_key_works_with_openais_client_until_it_is_revoked(
    open_page: OpenPage,
    complaints: list[str],
    live_server: LiveServer,
    people: Team,
    owner: User,
) -> None:
    ServedModel.objects.create(name="tiny", source="/m")
    page = open_page(
        f"/teams/{people.pk}/keys/",
        user=owner,
        permissions=["clipboard-read", "clipboard-write"],
    )
    page.get_by_role("link", name="New key").click()
    page.get_by_label("Name").fill("from the browser")
    page.get_by_role("button", name="Make the key").click()

    token = page.locator("#once-token").inner_text()
    page.get_by_role("button", name="Copy the key").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == token
    expect(page.locator("#snippet-python")).to_contain_text(f"{live_server.url}/v1")
    expect(page.locator("#snippet-curl")).to_contain_text(token)
    assert sound(page) == []

    client = openai.OpenAI(
        base_url=f"{live_server.url}/v1", api_key=token, max_retries=0
    )
    assert [model.id for model in client.models.list()] == ["tiny"]

    page.reload()
    assert not re.search(r"sk-bs-[0-9a-f]{64}", page.content())
    expect(page.get_by_text("You have a working key of this name")).to_be_visible()

    page.get_by_role("link", name="Back to the keys").click()
    row = page.get_by_role("row", name="from the browser")
    expect(row).to_contain_text("127.0.0.1")
    row.get_by_role("button", name="Revoke…").click()
    page.get_by_role("button", name="Revoke the key").click()
    expect(page.get_by_text("is revoked.")).to_be_visible()
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert complaints == []


def test_somebody_new_sets_a_password_and_signs_in(
    open_page: OpenPage, complaints: list[str], people: Team, owner: User
) -> None:
    page = open_page(f"/teams/{people.pk}/people/", user=owner)
    page.get_by_label("E-mail address").fill("new@example.com")
    page.get_by_label("Role", exact=True).select_option("viewer")
    page.get_by_role("button", name="Add").click()
    link = page.locator("#once-link").inner_text()
    assert sound(page) == []
    page.reload()
    expect(page.locator("#once-link")).to_have_count(0)

    theirs = open_page(link)
    # The token is not in the address, where a referrer or a screenshot would take it.
    assert link.rsplit("/", 2)[1] not in theirs.url
    assert sound(theirs) == []
    theirs.get_by_label("New password").fill("12345678")
    theirs.get_by_label("The same again").fill("12345678")
    theirs.get_by_role("button", name="Set the password").click()
    expect(theirs.get_by_text("This password is too common.")).to_be_visible()
    assert sound(theirs) == []
    theirs.get_by_label("New password").fill("a long enough secret")
    theirs.get_by_label("The same again").fill("a long enough secret")
    theirs.get_by_role("button", name="Set the password").click()
    expect(theirs.get_by_text("new@example.com is set.")).to_be_visible()
    theirs.get_by_label("E-mail address").fill("new@example.com")
    theirs.get_by_label("Password").fill("a long enough secret")
    theirs.get_by_role("button", name="Sign in").click()
    expect(theirs.get_by_role("heading", level=1)).to_have_text("Batches")
    main = theirs.get_by_role("navigation", name="Main")
    main.get_by_role("link", name="Team", exact=True).click()
    expect(theirs.get_by_role("heading", level=1)).to_have_text("Blue")

    theirs.goto(link)
    expect(theirs.get_by_role("heading", level=1)).to_contain_text("does not work")
    page.reload()
    row = page.get_by_role("row", name="new@example.com")
    expect(row).not_to_contain_text("never")
    assert complaints == []


def test_everything_works_by_keyboard_alone(
    open_page: OpenPage, complaints: list[str], people: Team, owner: User
) -> None:
    page = open_page(f"/teams/{people.pk}/people/", user=owner)
    keys = page.keyboard
    role = page.get_by_role("button", name="Role… of teammate@example.com")
    for _ in range(40):
        if role.evaluate("node => node === document.activeElement"):
            break
        keys.press("Tab")
    expect(role).to_be_focused()

    keys.press("Enter")
    expect(page.get_by_role("radio", name="member")).to_be_focused()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(page.get_by_text("teammate@example.com is curator now.")).to_be_visible()

    page.get_by_role("link", name="API keys").focus()
    keys.press("Enter")
    expect(page.get_by_role("heading", name="API keys of the team")).to_be_visible()
    page.wait_for_load_state()
    keys.press("n")
    expect(page.get_by_label("Name")).to_be_focused()
    keys.type("typed")
    keys.press("Tab")
    keys.press("ArrowDown")
    expect(page.get_by_label("Only what I choose")).to_be_checked()
    for _ in range(2):
        keys.press("Tab")
    expect(page.get_by_label("batches: nothing")).to_be_focused()
    keys.press("ArrowRight")
    keys.press("Enter")
    expect(page.get_by_role("button", name="Copy the key")).to_be_focused()
    assert ApiKey.objects.get(name="typed").scopes == ["batches:read"]

    page.goto(f"/teams/{people.pk}/people/")
    page.get_by_role("button", name="Other teams…").focus()
    keys.press("Enter")
    expect(page.get_by_role("link", name="W" * 100)).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert complaints == []


def test_forms_work_without_scripts(
    open_page: OpenPage, people: Team, owner: User
) -> None:
    page = open_page(
        f"/teams/{people.pk}/people/", user=owner, java_script_enabled=False
    )
    page.get_by_role("button", name="Remove… teammate@example.com").click()
    page.get_by_role("button", name="Remove from the team").click()
    expect(page.get_by_text("is out of the team.")).to_be_visible()
    page.goto(f"/teams/{people.pk}/keys/new/")
    page.get_by_label("Name").fill("no scripts")
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator("#once-token")).to_contain_text("sk-bs-")


def test_staff_make_a_key_in_the_admin_under_the_csp(
    open_page: OpenPage, complaints: list[str], people: Team, staff: User
) -> None:
    page = open_page("/admin/accounts/apikey/add/", user=staff)
    for field, text in (("team", "Blue"), ("user", "teammate")):
        page.locator(f"[aria-labelledby=select2-id_{field}-container]").click()
        page.locator(".select2-search__field").fill(text)
        page.locator(".select2-results__option", has_text=text).click()
    page.get_by_label("Name").fill("for a mate")
    page.get_by_label("files:read").check()
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_text("The key is shown only now")).to_contain_text("sk-bs-")
    key = ApiKey.objects.get(name="for a mate")
    assert (key.user.email, key.scopes) == ("teammate@example.com", ["files:read"])
    page.goto(f"/admin/accounts/team/{people.pk}/change/")
    expect(page.get_by_text("Limits of the queue")).to_be_visible()
    assert complaints == []
