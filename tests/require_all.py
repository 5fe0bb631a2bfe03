# SPDX-License-Identifier: Apache-2.0
"""pytest --require-all: a skipped test is a failure, so that CI hides no hole."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-all", action="store_true", help="a skipped test is a failure"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> object:
    report: pytest.TestReport = yield
    if report.skipped and item.config.getoption("--require-all"):
        report.outcome = "failed"
        report.longrepr = f"skipped although --require-all: {report.longrepr}"
    return report
