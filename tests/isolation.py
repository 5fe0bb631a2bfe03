# SPDX-License-Identifier: Apache-2.0
"""Keeps what a test writes and counts apart from other tests and from real data."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from jobs import standing

# What stands for the database in a test's list of fixtures.
DATABASE = {"db", "transactional_db", "live_server"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-database",
        action="store_true",
        help="leave out what does not depend on the database of the settings",
    )
    parser.addoption(
        "--pages",
        choices=("too", "alone", "out"),
        default="too",
        help="whether tests of pages are run, which differ least between databases",
    )


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """A second database has nothing to say to the tests that use none, or their own."""
    if config.getoption("--only-database"):
        left_out = [item for item in items if not depends_on_database(item)]
        items[:] = [item for item in items if depends_on_database(item)]
        config.hook.pytest_deselected(items=left_out)
    pages = config.getoption("--pages")
    if pages != "too":
        left_out = [item for item in items if is_of_pages(item) != (pages == "alone")]
        items[:] = [item for item in items if is_of_pages(item) == (pages == "alone")]
        config.hook.pytest_deselected(items=left_out)


def is_of_pages(item: pytest.Item) -> bool:
    """Whether a test asks for pages, by where it is."""
    name, folder = item.path.stem, item.path.parent.name
    return folder in ("web", "access") or name.startswith(
        ("test_web_", "test_webhook_pages", "test_webhook_admin")
    )


def depends_on_database(item: pytest.Item) -> bool:
    """Whether a test reaches the database of the settings, by mark or by fixture."""
    if item.get_closest_marker("one_database"):
        return False
    fixtures = DATABASE.intersection(getattr(item, "fixturenames", ()))
    return bool(fixtures) or item.get_closest_marker("django_db") is not None


@pytest.fixture(autouse=True)
def data_folder(settings: Settings, tmp_path: Path) -> Path:
    """Everything a test writes goes to its own folder, never to the developer's data.

    So does what it counts: the cache starts empty.
    """
    folder = tmp_path / "data"
    settings.DATA_DIR = folder
    settings.SPOOL_DIR = folder / "spool"
    settings.RUN_DIR = folder / "run"
    storages = dict(settings.STORAGES)
    options = {**storages["default"]["OPTIONS"], "location": str(folder / "files")}
    storages["default"] = {**storages["default"], "OPTIONS": options}
    settings.STORAGES = storages
    settings.CACHES = {
        name: settings.CACHES[name] | {"LOCATION": str(folder / name)}
        for name in ("default", "calls", "failures")
    }
    # The site's own hasher takes a third of a second a password, as it should.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Otherwise each new client of a test looks through all static files first.
    settings.WHITENOISE_AUTOREFRESH = True
    return folder


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is answered from a look at the queue that another one took."""
    monkeypatch.setattr(standing, "_newest", None)
