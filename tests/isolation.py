# SPDX-License-Identifier: Apache-2.0
"""Keeps what a test writes and counts apart from other tests and from real data."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from jobs import standing


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
    return folder


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is answered from a look at the queue that another one took."""
    monkeypatch.setattr(standing, "_newest", None)
