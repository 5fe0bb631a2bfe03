# SPDX-License-Identifier: Apache-2.0
"""No page is added without the browser's tests looking at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from batchsite.accounts.models import User
from tests.browser.pages import NO_PAGE, PAGES


def addresses(
    patterns: list[URLPattern | URLResolver], start: str = "/"
) -> Iterator[tuple[str, str]]:
    """Name and path of each address outside the admin's own."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield pattern.name or "", f"{start}{pattern.pattern}"
        elif pattern.namespace != "admin":
            yield from addresses(pattern.url_patterns, f"{start}{pattern.pattern}")


# The API answers in JSON, whatever is asked of it; its reference is a page.
NAMED = {
    name: path
    for name, path in addresses(get_resolver().url_patterns)
    if not path.startswith("/v1/") or name == "api-docs"
}


def test_every_address_is_a_page_of_the_browsers_tests_or_no_page() -> None:
    assert set(NAMED) == set(PAGES) | set(NO_PAGE)
    assert not set(PAGES) & set(NO_PAGE)


@pytest.mark.parametrize("name", NO_PAGE)
def test_no_page_is_no_page(client: Client, owner: User, name: str) -> None:
    path = NAMED[name].replace("<int:team>", "1").replace("<int:member>", "1")
    client.force_login(owner)

    path = (
        path.replace("<int:index>", "1")
        .replace("<str:item>", "1")
        .replace("<int:key>", "1")
        .replace("<str:start>", "x")
    )
    r = client.get(path.replace("<str:code>", "x"))

    assert r.status_code != 200 or b"<html" not in r.getvalue()
