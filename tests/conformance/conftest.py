# SPDX-License-Identifier: Apache-2.0
"""The server under test, and the record of what its run proved.

CONFORMANCE_URL and CONFORMANCE_KEY name a server (`make conformance URL=… KEY=…`);
without them the suite starts a site of its own.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.client import start_up
from tests.engine_process import engine_process
from tests.site import Site

from .checklist import PROMISES
from .proof import HERE, write_table
from .server import LocalServer, Server

URL = os.environ.get("CONFORMANCE_URL", "").rstrip("/")
KEY = os.environ.get("CONFORMANCE_KEY", "")
MODEL = os.environ.get("CONFORMANCE_MODEL", "")
# Seconds that a batch may take on a server that we know nothing of.
PATIENCE = 3600
outcomes: dict[str, dict[str, bool]] = defaultdict(dict)
left_out: set[str] = set()


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """With a URL, leave out the tests that need a site of our own."""
    if not URL:
        return
    ours = [item for item in items if needs_local_site(item)]
    for item in ours:
        left_out.update(ids(item))
    items[:] = [item for item in items if item not in ours]
    config.hook.pytest_deselected(items=ours)


def needs_local_site(item: pytest.Item) -> bool:
    """Whether the test touches the server's database or processes."""
    return item.path.parent == HERE and "local_site" in getattr(
        item, "fixturenames", ()
    )


def ids(item: pytest.Item) -> list[str]:
    """The promises that the test proves."""
    return [name for mark in item.iter_markers("proves") for name in mark.args]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether a test passed, for each id that it proves."""
    report = yield
    name = getattr(item, "originalname", item.name)
    for proved in ids(item):
        before = outcomes[proved].get(name, True)
        outcomes[proved][name] = before and report.passed
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was proved, what was not, and what could not be tried."""
    if not outcomes:
        return
    proved = [
        name for name in PROMISES if name in outcomes and all(outcomes[name].values())
    ]
    failed = [name for name in outcomes if name not in proved]
    untried = [name for name in PROMISES if name not in outcomes]
    say = terminalreporter.write_line
    say(f"conformance: {len(proved)} of {len(PROMISES)} promises proved")
    if failed:
        say(f"broken: {', '.join(sorted(failed))}")
    if left_out - set(untried):
        say(
            f"proved in part, the rest needs the server's insides: {', '.join(sorted(left_out - set(untried)))}"
        )
    if untried:
        say(f"not tried: {', '.join(untried)}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """`make conformance-table`: write the run's table into docs/api.md."""
    if os.environ.get("CONFORMANCE_TABLE") and outcomes and not URL:
        write_table(outcomes)


@pytest.fixture(scope="session")
def own_site(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path
) -> Iterator[LocalServer]:
    """Web server, control worker and engine worker on SQLite, and the test engine."""
    site = Site(tmp_path_factory.mktemp("conformance"))
    shutil.copy(migrated_sqlite, site.folder / "db.sqlite3")
    try:
        with engine_process() as (engine, _):
            site.run("addengine", "ext", "--url", f"{engine}/v1")
            running = start_up(
                site, "--no-engine", BATCHSITE_WEBHOOK_ALLOWED="127.0.0.1"
            )
            running.up.expect("Worker of engine ext is ready.", timeout=60)
            server = LocalServer(
                url=f"http://127.0.0.1:{running.port}/v1",
                key=running.client.api_key,
                model="tiny",
                running=running,
            )
            yield server
            server.close()
    finally:
        site.close()


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The server under test."""
    if not URL:
        yield request.getfixturevalue("own_site")
        return
    found = Server(url=URL, key=KEY, model=MODEL, timeout=PATIENCE)
    if not found.model:
        found.model = next(iter(found.client.models.list())).id
    yield found
    found.close()


@pytest.fixture
def local_site(own_site: LocalServer) -> LocalServer:
    """For the promises that show only with a hand on the server: its clock, its limits."""
    return own_site
