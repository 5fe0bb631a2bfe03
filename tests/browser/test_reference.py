# SPDX-License-Identifier: Apache-2.0
"""/v1/docs in a browser: sound on each screen, and its links lead somewhere."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import (  # type: ignore[import-untyped]  # no stubs
    Axe,
)

from .conftest import OpenPage
from .test_pages import SCREENS

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("screen", SCREENS)
def test_the_reference_is_sound_without_a_sign_in(
    open_page: OpenPage, complaints: list[str], screen: str
) -> None:
    page = open_page("/v1/docs", **SCREENS[screen])
    page.wait_for_load_state("networkidle")

    found = Axe().run(page).response["violations"]

    assert [
        (v["id"], [node["html"] for node in v["nodes"]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ] == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert complaints == []


def test_the_references_links_lead_to_places_of_the_page(
    open_page: OpenPage, complaints: list[str]
) -> None:
    page = open_page("/v1/docs")
    targets = page.eval_on_selector_all(
        "a[href^='#']", "links => links.map(link => link.hash.slice(1))"
    )
    places = page.eval_on_selector_all("[id]", "all => all.map(one => one.id)")

    assert len(targets) > 40
    assert set(targets) <= set(places)
    page.get_by_role("link", name="Make a batch of an uploaded file.").click()
    assert page.locator("#createBatch").is_visible()
    page.get_by_role("link", name="OpenAPI document").click()
    assert '"openapi": "3.1.0"' in page.content()
    assert complaints == []
