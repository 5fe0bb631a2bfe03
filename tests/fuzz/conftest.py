# SPDX-License-Identifier: Apache-2.0
"""A web server to shoot at, and at the end how many inputs were generated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import Site
from tests.web_server import WebServer, serve

from .amounts import USUAL, WANTED, generated

HERE = Path(__file__).resolve().parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The count comes after all that is counted."""
    items.sort(key=lambda item: item.path == HERE / "test_total.py")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures, and how to have more."""
    if not generated:
        return
    parts = ", ".join(f"{count:,} {kind}" for kind, count in generated.most_common())
    terminalreporter.write_line(
        f"fuzzing: {generated.total():,} generated inputs ({parts})"
    )
    if WANTED == USUAL:
        terminalreporter.write_line("make fuzz N=100000 draws more, and other ones")


@pytest.fixture(scope="session")
def web(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path
) -> Iterator[WebServer]:
    """A web server on a database of its own, without limits."""
    site = Site(tmp_path_factory.mktemp("fuzz") / "site")
    shutil.copy(migrated_sqlite, site.folder / "db.sqlite3")
    try:
        yield serve(
            site,
            BATCHSITE_REQUESTS_PER_MINUTE="0",
            BATCHSITE_FAILED_KEYS_PER_MINUTE="0",
            BATCHSITE_BATCHES_PER_HOUR="0",
        )
    finally:
        site.close()
