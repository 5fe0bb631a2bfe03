# SPDX-License-Identifier: Apache-2.0
"""A whole site of its own for tests that start, stop and kill real processes.

`site` is a pytest fixture (SQLite). Both databases:

    @pytest.mark.parametrize("site", DATABASES, indirect=True)
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import psycopg.rows
import pytest

from jobs.processes import child_setup, start_time
from tests.postgres import PostgresServer, binaries

ROOT = Path(__file__).resolve().parent.parent
DATABASES = ["sqlite", "postgres"] if binaries() else ["sqlite"]
# For the fast suite, whose second part runs on PostgreSQL anyway.
SQLITE_FIRST = [
    pytest.param(name, marks=pytest.mark.slow) if name == "postgres" else name
    for name in DATABASES
]
Found = TypeVar("Found")
# Timeouts are what a quiet machine is given; a busy one is no failure.
PATIENCE = 4


def wait_for(
    look: Callable[[], Found], *, timeout: float = 20, what: str = ""
) -> Found:
    """Call `look` until it returns something true; AssertionError after `timeout` s.

    The timeout is for a quiet machine: see PATIENCE.
    """
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:.0f} s: {what or look}")
        time.sleep(0.05)


@dataclass
class Process:
    """A started `manage.py` command; it dies with the test run."""

    popen: subprocess.Popen[bytes]
    log_path: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def log(self) -> str:
        """All it printed so far."""
        return self.log_path.read_text(errors="replace")

    def expect(self, text: str, *, timeout: float = 20) -> str:
        """Wait until it printed `text`; returns all it printed."""

        def look() -> str:
            printed = self.log()
            if text not in printed and self.popen.poll() is not None:
                raise AssertionError(f"it ended without {text!r}: {printed}")
            return printed if text in printed else ""

        try:
            return wait_for(look, timeout=timeout, what=text)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from error

    def signal(self, signum: int) -> None:
        """Send a signal to this process alone."""
        self.popen.send_signal(signum)

    def kill(self) -> None:
        """kill -9, and wait."""
        self.popen.kill()
        self.wait(timeout=10)

    def stop(self, *, timeout: float = 30) -> int:
        """SIGTERM, wait; returns the exit code, negative for a signal."""
        self.popen.terminate()
        return self.wait(timeout=timeout)

    def wait(self, *, timeout: float = 30) -> int:
        """Wait for the end; returns the exit code."""
        try:
            return self.popen.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running: {self.log()}") from error


class Site:
    """A data folder with a migrated database, and the processes started on it."""

    def __init__(self, folder: Path, *, database_url: str = "") -> None:
        self.folder = folder
        self.logs = folder
        self.database_url = database_url
        self.processes: list[Process] = []
        self._names = itertools.count()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def env(self, **extra: str) -> dict[str, str]:
        """The environment of every process: this data folder, the test engine."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "SECRET_KEY", "BATCHSITE_PRODUCTION")
        }
        database = {"DATABASE_URL": self.database_url} if self.database_url else {}
        return (
            kept
            | {
                "BATCHSITE_DATA": str(self.folder),
                "BATCHSITE_ENGINE_PYTHON": sys.executable,
                "BATCHSITE_ENGINE_MODULE": "tests.engine_server",
                "DJANGO_SETTINGS_MODULE": "batchsite.settings",
                "PYTHONPATH": str(ROOT),
                "PYTHONUNBUFFERED": "1",
                "LOG_FORMAT": "human",
            }
            | database
            | extra
        )

    def start(self, *arguments: str, inside: Sequence[str] = (), **env: str) -> Process:
        """Start `manage.py ARGUMENTS` in a session of its own.

        `inside` is a command that becomes the one behind it, on another host say.
        """
        command = [*inside, sys.executable, str(ROOT / "manage.py"), *arguments]
        return self.launch(command, name=arguments[0], **env)

    def launch(self, command: Sequence[str], *, name: str, **env: str) -> Process:
        """Start a program with this data folder in a session of its own."""
        path = self.logs / f"{next(self._names):02d}-{name}.log"
        with path.open("wb") as log:
            popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.env(**env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=child_setup(signal.SIGKILL),
            )
        process = Process(popen, path)
        self.processes.append(process)
        return process

    def run(
        self, *arguments: str, check: bool = True, timeout: float = 300, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `manage.py ARGUMENTS` to its end; AssertionError when it fails."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT,
            env=self.env(**env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments}: {done.stdout}{done.stderr}")
        return done

    def python(self, code: str, *, timeout: float = 300) -> str:
        """Run Python with the site's Django set up; returns what it printed."""
        return self.run("shell", "--no-imports", "-c", code, timeout=timeout).stdout

    def query(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        """Rows of the site's database, past Django; `%s` stands for a parameter.

        A data-changing statement is committed; it returns no rows.
        """
        if self.database_url:
            with psycopg.connect(
                self.database_url, row_factory=psycopg.rows.dict_row
            ) as postgres:
                cursor = postgres.execute(sql.encode(), params)
                return cursor.fetchall() if cursor.description else []
        with contextlib.closing(
            sqlite3.connect(self.folder / "db.sqlite3", timeout=20)
        ) as sqlite:
            sqlite.row_factory = sqlite3.Row
            with sqlite:
                found = sqlite.execute(sql.replace("%s", "?"), params).fetchall()
                return [dict(row) for row in found]

    def engine(self, name: str) -> dict[str, Any]:
        """The engine's row, or an empty dict."""
        rows = self.query("SELECT * FROM jobs_engine WHERE name = %s", name)
        return rows[0] if rows else {}

    def engine_record(self, name: str) -> dict[str, Any]:
        """What is on record of the engine's newest start that is not cleared up."""
        records = (self.folder / "run").glob(f"{name}-*.json")
        newest = max(records, key=lambda path: int(path.stem.rpartition("-")[2]))
        found: dict[str, Any] = json.loads(newest.read_text())
        return found

    def left_over(self) -> dict[int, str]:
        """Living processes that were given this data folder: pid to command line."""
        mark = f"BATCHSITE_DATA={self.folder}".encode()
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            if mark in environment and start_time(int(entry.name)) is not None:
                found[int(entry.name)] = command.decode(errors="replace").strip()
        return found

    def close(self) -> None:
        """Stop what still runs; kill what does not stop."""
        running = [p for p in self.processes if p.popen.poll() is None]
        for process in running:
            process.popen.terminate()
        for process in running:
            try:
                process.wait(timeout=20)
            except AssertionError:
                process.kill()
        for pid in self.left_over():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test run."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy, one for all processes of this test run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    template = Site(folder / "site-template")
    done = template.folder / "migrated"
    with (template.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            template.run("migrate", "--skip-checks", "--verbosity", "0")
            template.query("PRAGMA wal_checkpoint(TRUNCATE)")
            done.touch()
    return template.folder / "db.sqlite3"


@pytest.fixture(scope="session")
def migrated_postgres(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The name of a migrated PostgreSQL database to copy."""
    url = postgres.create("site_template")
    folder = tmp_path_factory.mktemp("site-template")
    Site(folder, database_url=url).run("migrate", "--skip-checks", "--verbosity", "0")
    return "site_template"


_databases = itertools.count(1)


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A site with an empty, migrated database; SQLite unless parametrised."""
    if getattr(request, "param", "sqlite") == "postgres":
        template = request.getfixturevalue("migrated_postgres")
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create(f"site_{next(_databases)}", template=template)
        made = Site(tmp_path / "site", database_url=url)
    else:
        made = Site(tmp_path / "site")
        shutil.copy(
            request.getfixturevalue("migrated_sqlite"), made.folder / "db.sqlite3"
        )
    try:
        yield made
    finally:
        made.close()
