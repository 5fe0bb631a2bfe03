# SPDX-License-Identifier: Apache-2.0
"""Tells at the end how many inputs were generated."""

from __future__ import annotations

from pathlib import Path

import pytest

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
