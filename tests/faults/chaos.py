# SPDX-License-Identifier: Apache-2.0
"""Who is killed in the sweep, how, and in which order."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import psycopg

from jobs.processes import children, start_time
from tests.postgres import PostgresServer
from tests.site import Site, wait_for

from .keepers import Keepers

Phase = Literal["upload", "intake", "running", "ending"]
ALWAYS: frozenset[Phase] = frozenset({"running"})
WEB: frozenset[Phase] = frozenset({"upload", "running"})
CONTROL: frozenset[Phase] = frozenset({"intake", "running", "ending"})
ANY: frozenset[Phase] = frozenset({"upload", "intake", "running", "ending"})
LOCKED_SECONDS = (2.0, 6.0)


@dataclass(frozen=True)
class Scene:
    """What a victim is found in; `server` for PostgreSQL alone."""

    site: Site
    keepers: Keepers
    rng: random.Random
    server: PostgresServer | None


@dataclass(frozen=True)
class Victim:
    """A way to break the site; `strike` returns when the repair can begin.

    `of` is the process that must be there for it; `redoes`: whether answers that were
    not stored yet may be lost with it.
    """

    name: str
    of: str
    strike: Callable[[Scene], None]
    phases: frozenset[Phase] = ALWAYS
    redoes: bool = False


def kill(pid: int) -> None:
    """kill -9, of a process that must be there."""
    assert pid > 1
    os.kill(pid, signal.SIGKILL)


def main_of(name: str) -> Callable[[Scene], None]:
    """Kill the main process."""
    return lambda scene: kill(scene.keepers.kept[name].pid)


def child_of(name: str, place: int) -> Callable[[Scene], None]:
    """Kill the child of a worker's sentinel at that place of the order of their starts."""

    def strike(scene: Scene) -> None:
        (sentinel,) = children(scene.keepers.kept[name].pid)
        born = sorted(children(sentinel), key=lambda pid: (start_time(pid) or 0, pid))
        kill(born[place])

    return strike


def sentinel_of(name: str) -> Callable[[Scene], None]:
    """Kill a worker's sentinel."""
    return lambda scene: kill(min(children(scene.keepers.kept[name].pid)))


def web_child(scene: Scene) -> None:
    """Kill one of gunicorn's workers."""
    kill(scene.rng.choice(sorted(children(scene.keepers.kept["web"].pid))))


def api_server(scene: Scene) -> None:
    """Kill the engine's API server; its core lives on."""
    kill(scene.keepers.engine_pid())


def core(scene: Scene) -> None:
    """Kill the process that computes; the API server follows."""
    kill(min(children(scene.keepers.engine_pid())))


def connections(scene: Scene) -> None:
    """Cut every connection to the database."""
    assert scene.server is not None
    name = scene.site.database_url.rpartition("/")[2]
    with psycopg.connect(scene.server.url(), autocommit=True) as postgres:
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [name],
        )


def database_server(scene: Scene) -> None:
    """Crash the database server, and start it again a moment later."""
    assert scene.server is not None
    scene.server.crash()
    time.sleep(scene.rng.uniform(0.2, 3))
    scene.server.start()


def lock(scene: Scene) -> None:
    """Hold SQLite's write lock for some seconds."""
    path = scene.site.folder / "db.sqlite3"
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as holder:
        holder.isolation_level = None
        holder.execute("BEGIN EXCLUSIVE")
        time.sleep(scene.rng.uniform(*LOCKED_SECONDS))
        holder.execute("ROLLBACK")


def victims(*, server: bool) -> list[Victim]:
    """All of them, each a little different with a database server than with SQLite."""
    database = (
        [
            Victim("database connections", "", connections, ANY),
            Victim("database server", "", database_server, ANY),
        ]
        if server
        else [Victim("database lock", "", lock, ANY)]
    )
    return [
        Victim("web: main", "web", main_of("web"), WEB),
        Victim("web: worker", "web", web_child, WEB),
        Victim("control: main", "control", main_of("control"), CONTROL),
        Victim("control: sentinel", "control", sentinel_of("control"), CONTROL),
        Victim("control: task process", "control", child_of("control", 0), CONTROL),
        Victim("control: monitor", "control", child_of("control", 2), CONTROL),
        Victim("control: pusher", "control", child_of("control", 3), CONTROL),
        Victim("feeder: main", "feeder", main_of("feeder"), redoes=True),
        Victim("feeder: sentinel", "feeder", sentinel_of("feeder"), redoes=True),
        Victim("feeder: task process", "feeder", child_of("feeder", 0), redoes=True),
        Victim("feeder: monitor", "feeder", child_of("feeder", 1)),
        Victim("feeder: pusher", "feeder", child_of("feeder", 2)),
        Victim("engine host", "host", main_of("host"), redoes=True),
        Victim("engine: API server", "engine", api_server, redoes=True),
        Victim("engine: core", "engine", core, redoes=True),
        *database,
    ]


class Deck:
    """Victims in random order, each once before the order is made anew."""

    def __init__(self, cards: list[Victim], rng: random.Random) -> None:
        self._cards = cards
        self._rng = rng
        self._left: list[Victim] = []

    def draw(self, phase: Phase) -> Victim:
        """The next one that makes sense at such a moment; one of before if none is left."""
        if not self._left:
            self._left = self._rng.sample(self._cards, len(self._cards))
        for victim in self._left:
            if phase in victim.phases:
                self._left.remove(victim)
                return victim
        return self._rng.choice([v for v in self._cards if phase in v.phases])


def strike(victim: Victim, scene: Scene) -> tuple[float, float]:
    """Break it; when it began and when the repair could begin, by time.monotonic().

    What is to be killed must be up, so that it can be; others may still be starting.
    """
    kept = scene.keepers.kept.get(victim.of)
    wait_for(
        lambda: (
            (kept is None or kept.whole)
            and (victim.of != "engine" or scene.keepers.engine_pid())
        ),
        timeout=120,
        what=f"{victim.name} to be there; {scene.keepers.state()}",
    )
    began = time.monotonic()
    victim.strike(scene)
    # A kill is done at once; for a lock or an outage counts when it was over.
    return began, time.monotonic()
