# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from pytest_django import Settings

from jobs.attendance import sweep_spool

DAY = 24 * 3600


@pytest.fixture
def spool(settings: Settings) -> Path:
    folder: Path = settings.SPOOL_DIR
    (folder / "uploads").mkdir(parents=True)
    return folder


def left(path: Path, *, age: float) -> Path:
    """Give the file, made where it is missing, and nothing else that age in seconds."""
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_killed_processes_left_is_removed_after_a_day(spool: Path) -> None:
    left(spool / "uploads" / "old", age=DAY + 60)
    fresh = left(spool / "uploads" / "fresh", age=DAY - 60)
    left(spool / "intake-old" / "rows", age=DAY + 60)
    left(spool / "intake-old", age=DAY + 60)
    # Its folder is old, and yet somebody writes into it.
    used = left(spool / "intake-used" / "rows", age=60)
    left(spool / "intake-used", age=DAY + 60)
    other = left(spool / "something else", age=DAY + 60)
    assert sweep_spool() == 2
    files = {path for path in spool.rglob("*") if path.is_file()}
    assert files == {fresh, used, other}


def test_nothing_outside_the_spool_is_touched(spool: Path, tmp_path: Path) -> None:
    kept = left(tmp_path / "elsewhere" / "kept", age=2 * DAY)
    left(kept.parent, age=2 * DAY)
    link = spool / "intake-link"
    link.symlink_to(kept.parent)
    os.utime(link, (0, 0), follow_symlinks=False)
    assert sweep_spool() == 1
    assert not link.is_symlink()
    assert kept.exists()


def test_a_site_without_a_spool_yet_is_fine(settings: Settings) -> None:
    assert not settings.SPOOL_DIR.exists()
    assert sweep_spool() == 0
