# SPDX-License-Identifier: Apache-2.0
"""Every page in light, dark and on a phone: no complaint, nothing inaccessible."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import (  # type: ignore[import-untyped]  # no stubs
    Axe,
)

from batchsite.accounts.models import User
from jobs.models import Batch

from .conftest import OpenPage

pytestmark = pytest.mark.browser

SCREENS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1360, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1360, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 400, "height": 850}},
}
PAGES = [
    "/login/",
    "/batches/",
    "/batches/?status=expired",
    "running",
    "completed",
    "failed",
    "validating",
    "/engines/",
]


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("path", PAGES)
def test_page_is_sound(
    open_page: OpenPage,
    complaints: list[str],
    staff: User,
    batches: dict[str, Batch],
    path: str,
    screen: str,
) -> None:
    if path in batches:
        path = f"/batches/{batches[path].public_id}/"
    user = None if path == "/login/" else staff
    page = open_page(path, user=user, **SCREENS[screen])
    page.wait_for_load_state("networkidle")

    found = Axe().run(page).response["violations"]
    bad = [
        (v["id"], [node["html"] for node in v["nodes"]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")

    assert bad == []
    assert too_wide <= 0
    assert complaints == []


@pytest.mark.parametrize("screen", SCREENS)
def test_empty_list_is_sound(
    open_page: OpenPage, complaints: list[str], owner: User, screen: str
) -> None:
    page = open_page("/batches/", user=owner, **SCREENS[screen])

    found = Axe().run(page).response["violations"]

    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.get_by_text("No control worker is running.").is_visible()
    assert complaints == []


@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/jobs/batch/", "/admin/jobs/result/"]
)
def test_admin_runs_under_the_csp(
    open_page: OpenPage,
    complaints: list[str],
    staff: User,
    batches: dict[str, Batch],
    path: str,
) -> None:
    page = open_page(path, user=staff)
    page.wait_for_load_state("networkidle")

    assert complaints == []
