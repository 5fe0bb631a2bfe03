# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import (
    DatabaseError,
    InterfaceError,
    close_old_connections,
    connection,
    connections,
)
from django.db.migrations.executor import MigrationExecutor

from batchsite.accounts.installation import check_secret_key
from batchsite.accounts.models import User
from batchsite.foreman import Child, say, stop_all
from jobs.engines.registry import CannotRegister, check_engine_name
from jobs.models import Engine
from jobs.webhooks.checks import WEBHOOKS

logger = logging.getLogger(__name__)
LOOK_SECONDS = 2
DRAIN_SECONDS = 5
# Together below the 15 s that stopping may take.
WORKERS_MAY_TAKE = 8.0
# More than supervisor.CLOSE_SECONDS, after which a host kills its engine.
ENGINES_MAY_TAKE = 5.0
ENGINES_ARE_URGED = 1.0


class Command(BaseCommand):
    help = "Start the whole site in this terminal: web, workers, and engines."
    # The other checks import the pages and the API, which the web server does.
    requires_system_checks = (WEBHOOKS,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument(
            "--port", type=int, default=settings.BATCHSITE_PORT, help="web port"
        )
        parser.add_argument(
            "--no-engine",
            action="store_true",
            help="start no vLLM of its own; external engines are still served",
        )
        parser.add_argument("--name", help="name of the own engine (default: local)")
        parser.add_argument(
            "--engine",
            action="append",
            default=[],
            metavar="NAME[=GPUS]",
            help="an own engine, on these GPUs: gpu0=0,1; repeatable",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.shutdown = threading.Event()
        self.hurry = threading.Event()
        engines = own_engines(options)
        refuse_taken_port(options["host"], options["port"])
        bring_database_up_to_date()
        check_secret_key()
        if settings.PRODUCTION:
            call_command("collectstatic", interactive=False, verbosity=0)
        self.engine_names = list(engines)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._on_signal)
        self.web = web_server(options["host"], options["port"])
        self.workers = {"": Child("control", manage("runworker", *drain()))}
        self.hosts = [
            Child(f"engine {name}", manage("runengine", "--name", name, *gpus))
            for name, gpus in engines.items()
        ]
        greet(options["host"], options["port"])
        for words in shared_gpus(engines):
            say("up", words)
        try:
            self._tend()
        finally:
            self._stop()

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        # The second signal means now.
        (self.hurry if self.shutdown.is_set() else self.shutdown).set()

    def _tend(self) -> None:
        look_at = 0.0
        while not self.shutdown.is_set():
            if time.monotonic() >= look_at:
                self._look_for_engines()
                look_at = time.monotonic() + LOOK_SECONDS
            for child in [self.web, *self.hosts, *self.workers.values()]:
                child.tend()
            self.shutdown.wait(0.2)

    def _look_for_engines(self) -> None:
        """A worker for each own and each external engine; none for those gone."""
        close_old_connections()
        try:
            names = set(
                Engine.objects.served_by_up(self.engine_names).values_list(
                    "name", flat=True
                )
            )
        except (DatabaseError, InterfaceError):
            logger.exception("up cannot reach the database")
            connection.close()
            return
        for name in names - set(self.workers):
            self.workers[name] = Child(
                f"worker {name}", manage("runworker", "--engine", name, *drain())
            )
        for name in set(self.workers) - names - {""}:
            say("up", f"engine {name} is gone; its worker stops")
            self.workers.pop(name).kill()

    def _stop(self) -> None:
        say("up", "stopping; press Ctrl-C again to stop at once")
        connections.close_all()
        first = [self.web, *self.workers.values()]
        stop_all(first, seconds=WORKERS_MAY_TAKE, hurry=self.hurry)
        stop_all(
            self.hosts,
            seconds=ENGINES_MAY_TAKE,
            hurry=self.hurry,
            urge_seconds=ENGINES_ARE_URGED,
        )
        say("up", "stopped")


def manage(*arguments: str) -> list[str]:
    """The command line of another management command of this site."""
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]


def own_engines(options: Mapping[str, Any]) -> dict[str, list[str]]:
    """The engines to run, by name, with what `runengine` is told of their GPUs.

    CommandError for options that contradict each other, and for bad names.
    """
    given: list[str] = options["engine"]
    if bool(given) + bool(options["name"]) + options["no_engine"] > 1:
        raise CommandError("Give one of --engine, --name and --no-engine.")
    if options["no_engine"]:
        return {}
    found: dict[str, list[str]] = {}
    for one in given or [options["name"] or "local"]:
        name, equals, gpus = one.partition("=")
        try:
            check_engine_name(name)
        except CannotRegister as error:
            raise CommandError(str(error)) from error
        if name in found:
            raise CommandError(f"--engine names {name!r} twice.")
        found[name] = ["--gpus", gpus] if equals else []
    return found


def shared_gpus(engines: Mapping[str, list[str]]) -> list[str]:
    """GPUs that two of these engines were given, in words."""
    given: dict[str, list[str]] = {}
    for name, gpus in engines.items():
        for gpu in {gpu.strip() for gpu in ",".join(gpus[1:]).split(",")} - {""}:
            given.setdefault(gpu, []).append(name)
    return [
        f"GPU {gpu} is given to {' and '.join(names)}, which may need more memory than"
        " it has"
        for gpu, names in sorted(given.items())
        if len(names) > 1
    ]


def drain() -> tuple[str, str]:
    return "--drain-seconds", str(DRAIN_SECONDS)


def web_server(host: str, port: int) -> Child:
    """gunicorn with threads: several processes, so that one core is not the limit."""
    command = [
        *(sys.executable, "-m", "gunicorn", "batchsite.wsgi"),
        *("--bind", f"{host}:{port}"),
        *("--worker-class", "batchsite.webworker.Worker"),
        # Loaded once: a process that died is back at once, and they share their memory.
        "--preload",
        *("--workers", str(settings.BATCHSITE_WEB_PROCESSES)),
        *("--threads", str(settings.BATCHSITE_WEB_THREADS)),
        *("--graceful-timeout", str(DRAIN_SECONDS)),
        # gunicorn would let any client on this host, or behind its proxy, say where the
        # application is mounted, and that the connection is HTTPS.
        *("--forwarder-headers", ""),
        *("--forwarded-allow-ips", ""),
        *("--chdir", str(settings.BASE_DIR)),
        *("--log-level", "warning"),
        "--no-control-socket",
    ]
    return Child("web", command, env={"DJANGO_SETTINGS_MODULE": "batchsite.settings"})


def refuse_taken_port(host: str, port: int) -> None:
    """CommandError when something else listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {host}:{port}: {error.strerror}. Stop what uses the"
                " port, or choose another with --port."
            ) from error


def bring_database_up_to_date() -> None:
    """Apply missing migrations, saying so."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        say("up", f"applying {len(missing)} database migrations")
        call_command("migrate", interactive=False, verbosity=0)


def greet(host: str, port: int) -> None:
    """Where to look and how to get in."""
    say("up", f"Batchsite is at http://{host}:{port}/ (API: http://{host}:{port}/v1)")
    person = User.objects.filter(is_active=True).order_by("pk").first()
    if person is None:
        say("up", "nobody can sign in yet: 'manage.py createsuperuser' makes a person")
        say("up", "and 'manage.py createapikey --team T --user E-MAIL --name N' a key")
    elif person.has_usable_password():
        say("up", f"sign in as {person.email}")
    else:
        say(
            "up",
            f"'manage.py changepassword {person.email}' lets {person.email} sign in",
        )
