# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL server for tests, in a temporary folder on a free port.

python -m tests.postgres COMMAND …     runs COMMAND with DATABASE_URL set to it
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import psycopg.sql

from jobs.processes import child_setup, children


def binaries() -> Path | None:
    """The folder with `initdb` and `postgres`; None where PostgreSQL is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parts[-3]),
    )
    return versions[-1].parent if versions else None


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """Use as a context manager; `stop` and `start` make a database outage.

    Everybody on this machine may connect. `networks` maps further addresses to listen
    on to the networks that may connect there; `settings` are the server's own.
    """

    def __init__(
        self,
        *,
        networks: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        found = binaries()
        if found is None:
            raise RuntimeError("PostgreSQL's initdb was not found.")
        self._bin = found
        self._folder = Path(tempfile.mkdtemp(prefix="bs-pg-"))
        self._log = self._folder / "log"
        self.port = free_port()
        self._networks = networks or {}
        self._settings = {
            "listen_addresses": ",".join(["127.0.0.1", *self._networks]),
            "fsync": "off",
            "max_connections": "200",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            owner = pwd.getpwnam("postgres")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
            self._user = {
                "user": owner.pw_uid,
                "group": owner.pw_gid,
                "extra_groups": [],
            }

    def __enter__(self) -> Self:
        subprocess.run(
            [
                self._bin / "initdb",
                "--no-sync",
                "--auth=trust",
                "--username=batchsite",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                f"--pgdata={self._folder / 'data'}",
            ],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._user,
        )
        with (self._folder / "data" / "pg_hba.conf").open("a") as rules:
            for network in self._networks.values():
                rules.write(f"host all all {network} trust\n")
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str = "postgres", *, host: str = "127.0.0.1") -> str:
        """DATABASE_URL of one of the server's databases, by one of its addresses."""
        return f"postgres://batchsite@{host}:{self.port}/{database}"

    def cpu_seconds(self) -> float:
        """Processor time of the server and its backends so far, the ended ones too."""
        assert self._process is not None
        main = self._process.pid
        ticks = 0
        for pid in (*children(main), main):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                # utime, stime, and of the main process what its ended children took.
                ticks += sum(map(int, stat[11 : 15 if pid == main else 13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._bin / "postgres",
                    *("-D", str(self._folder / "data")),
                    *("-k", str(self._folder), "-p", str(self.port)),
                    *(f"--{name}={value}" for name, value in self._settings.items()),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,
                preexec_fn=child_setup(signal.SIGQUIT),
                **self._user,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url()).close()
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError(
                        f"PostgreSQL did not start: {self._log.read_text()}"
                    ) from error
                time.sleep(0.1)

    def stop(self) -> None:
        """Stop at once and cut every connection."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Stop without tidying up: the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def _end(self, signum: int) -> None:
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.wait(30)
            self._process = None

    def create(self, database: str, *, template: str = "template0") -> str:
        """Make a database, as a copy of another one if given; returns its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(
                psycopg.sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    psycopg.sql.Identifier(database), psycopg.sql.Identifier(template)
                )
            )
        return self.url(database)


def main() -> None:
    """Run the command given with DATABASE_URL pointing to a fresh server."""
    with PostgresServer() as server:
        environment = os.environ | {"DATABASE_URL": server.url()}
        status = subprocess.run(sys.argv[1:], env=environment, check=False).returncode
    sys.exit(status)


if __name__ == "__main__":
    main()
