# SPDX-License-Identifier: Apache-2.0
"""/v1/docs in a browser: its links lead somewhere."""

from __future__ import annotations

import pytest

from .conftest import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


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
