# SPDX-License-Identifier: Apache-2.0
"""Every page in light, dark, on a tablet and on a phone: no complaint, nothing too wide
or out of its card, nothing that keeps somebody out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import (  # type: ignore[import-untyped]  # no stubs
    Axe,
)
from django.template.loader import render_to_string
from playwright.sync_api import Page, Route

from batchsite.accounts.models import User

from .conftest import OpenPage
from .pages import ADMIN, ANSWERS, PAGES, Visit

pytestmark = pytest.mark.browser

DESK, TABLET, PHONE = (
    {"width": 1360, "height": 900},
    {"width": 820, "height": 900},
    {"width": 400, "height": 850},
)
SCREENS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": DESK},
    "dark": {"color_scheme": "dark", "viewport": DESK},
    "phone": {"color_scheme": "light", "viewport": PHONE},
}
# What reaches over the right edge of its card, where nothing scrolls or cuts it.
OUT_OF_ITS_CARD = """() => {
  const held = (node, card) => {
    for (let one = node; one !== card; one = one.parentElement)
      if (getComputedStyle(one).overflowX !== "visible") return true;
    return false;
  };
  const out = [];
  for (const card of document.querySelectorAll(".card")) {
    const edge = card.getBoundingClientRect().right + 1;
    for (const node of card.querySelectorAll("*"))
      if (node.getBoundingClientRect().right > edge && !held(node, card))
        out.push(node.outerHTML.slice(0, 80));
  }
  return out.slice(0, 3);
}"""


def sound(page: Page, **options: Any) -> list[Any]:
    """What axe, with these options, finds that keeps somebody out; what is too wide."""
    found = Axe().run(page, options={"resultTypes": ["violations"], **options})
    bad = [
        (v["id"], [node["html"] for node in v["nodes"]])
        for v in found.response["violations"]
        if v["impact"] in ("serious", "critical")
    ]
    return bad + too_wide(page)


def too_wide(page: Page) -> list[Any]:
    """The page beyond the screen, or a part of it beyond its card."""
    found: list[Any] = []
    if page.evaluate("document.documentElement.scrollWidth - innerWidth") > 0:
        found.append("wider than the screen")
    if out := page.evaluate(OUT_OF_ITS_CARD):
        found.append(("out of its card", out))
    return found


def sound_on_all_screens(page: Page) -> list[Any]:
    """The open page on each screen. The colours are all that differs in the dark."""
    found = [("light", bad) for bad in sound(page)]
    page.emulate_media(color_scheme="dark")
    found += [("dark", bad) for bad in sound(page, runOnly=["color-contrast"])]
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(TABLET)  # type: ignore[arg-type]  # a plain dictionary
    found += [("tablet", bad) for bad in too_wide(page)]
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    thumbs = {"target-size": {"enabled": True}}
    found += [("phone", bad) for bad in sound(page, rules=thumbs)]
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    return found


def wide_on_all_screens(page: Page) -> list[Any]:
    """Of Django's own pages: whether they fit. Their markup is not ours."""
    found: list[Any] = []
    for screen in (PHONE, TABLET, DESK):
        page.set_viewport_size(screen)  # type: ignore[arg-type]  # a plain dictionary
        found += [(screen["width"], bad) for bad in too_wide(page)]
    return found


def wrong_with(
    page: Page,
    path: str,
    complaints: list[str],
    *,
    status: int = 200,
    look: Callable[[Page], list[Any]] = sound_on_all_screens,
) -> list[Any]:
    """What is wrong with that page. A browser complains of every refusal itself."""
    complaints.clear()
    response = page.goto(path)
    assert response is not None
    found = look(page)
    if response.status != status:
        found.append(("status", response.status))
    refusal = f"a status of {status} "
    return found + [text for text in complaints if refusal not in text]


def grouped() -> dict[str, list[Visit]]:
    """The pages in groups, each large enough for the rows that are made for it.

    The pages of batches, which are many, by themselves; others by their first word.
    """
    groups: dict[str, list[Visit]] = {}
    for name, visits in PAGES.items():
        group = name if name.startswith("batch-") else name.partition("-")[0]
        groups.setdefault(group, []).extend(visits)
    return groups | {"admin": ADMIN}


GROUPS = grouped()


@pytest.mark.parametrize("group", GROUPS)
def test_pages_are_sound(
    open_page: OpenPage,
    complaints: list[str],
    cast: dict[str, User | None],
    places: dict[str, Any],
    group: str,
) -> None:
    visits = GROUPS[group]
    windows = {
        who: open_page("/favicon.ico", user=cast[who], **SCREENS["light"])
        for who in {visit.who for visit in visits}
    }
    wrong = {}
    for visit in visits:
        found = wrong_with(
            windows[visit.who],
            visit.path.format(**places),
            complaints,
            status=visit.status,
            look=wide_on_all_screens if group == "admin" else sound_on_all_screens,
        )
        title = windows[visit.who].get_by_role("heading", name=visit.shows)
        if visit.shows and not title.count():
            found.append(("does not show", visit.shows))
        if found:
            wrong[f"{visit.path} as {visit.who or 'nobody'}"] = found

    assert wrong == {}


@pytest.mark.parametrize("template", ANSWERS)
def test_what_the_site_says_when_it_cannot_is_sound(
    open_page: OpenPage, complaints: list[str], transactional_db: None, template: str
) -> None:
    html = render_to_string(template, {"theme": "auto", **ANSWERS[template]})

    def answer(route: Route) -> None:
        route.fulfill(status=500, content_type="text/html", body=html)

    page = open_page("/favicon.ico", **SCREENS["light"])
    page.route("**/broken/", answer)

    assert wrong_with(page, "/broken/", complaints, status=500) == []
