# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from batchsite.accounts.installation import check_secret_key
from jobs import attendance, processes
from jobs.cluster import WorkerCluster
from jobs.models import Engine
from jobs.tasks import CONTROL_QUEUE
from jobs.webhooks import deliver
from jobs.webhooks.checks import WEBHOOKS

logger = logging.getLogger(__name__)
Duty = attendance.EngineDuty | attendance.ControlDuty
TAKEN_OVER = "another worker has taken over"


class Command(BaseCommand):
    help = (
        "Run a worker. Without --engine: validates uploads, closes batches and writes"
        " files. With --engine NAME: sends requests to that engine."
    )
    # The other checks import the pages and the API, of which a worker needs nothing.
    requires_system_checks = (WEBHOOKS,)
    shutdown = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--engine", help="serve this engine, managed or external")
        parser.add_argument(
            "--drain-seconds",
            type=float,
            default=settings.BATCHSITE_DRAIN_SECONDS,
            help="how long requests in flight may take after SIGTERM (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        check_secret_key()
        if options["engine"]:
            self._run_engine(options["engine"], options["drain_seconds"])
        else:
            self._run_control(options["drain_seconds"])

    def _run_control(self, drain_seconds: float) -> None:
        cluster = WorkerCluster(
            queue=CONTROL_QUEUE,
            workers=settings.BATCHSITE_CONTROL_WORKERS,
            drain_seconds=drain_seconds,
            # Each look wakes a process up, which costs more than the look itself.
            poll=0.2,
        )
        attendance.free_what_the_dead_held()
        attendance.sweep_spool()
        deliver.stop_requested = cluster.drain.is_set
        cluster.start()
        self.stdout.write("Control worker is ready.")
        self.stdout.flush()
        duty = attendance.ControlDuty()
        self._loop(cluster, duty)
        self._end(cluster, duty)

    def _run_engine(self, name: str, drain_seconds: float) -> None:
        # With it comes the HTTP client, for which a control worker has no use.
        from jobs import attending

        if not Engine.objects.filter(name=name).exists():
            raise CommandError(
                f"There is no engine {name!r}. 'manage.py runengine --name {name}' makes a"
                " managed one, 'manage.py addengine' adds an external one."
            )
        token = processes.token()
        cluster = WorkerCluster(
            queue=Engine(name=name).queue,
            workers=1,
            drain_seconds=drain_seconds,
            # A feeder stays for as long as there is work; there may be a hundred of us.
            poll=0.5,
        )
        self._wait_for_token(name, token)
        duty = attendance.EngineDuty(name, token)
        attending.worker_token = token
        attending.drain_requested = cluster.drain.is_set
        attending.drain_seconds = lambda: drain_seconds

        def report(at: float) -> None:
            cluster.progress.value = at

        attending.report_progress = report
        cluster.start()
        self.stdout.write(f"Worker of engine {name} is ready.")
        self.stdout.flush()
        self._loop(cluster, duty)
        self._end(cluster, duty)

    def _wait_for_token(self, name: str, token: str) -> None:
        told = ""
        while (holder := attendance.take_worker_token(name, token)) is not None:
            if holder != told:
                self.stdout.write(
                    f"Engine {name} still has a worker ({holder}); waiting for it to go."
                )
                told = holder
            time.sleep(1)

    def _loop(self, cluster: WorkerCluster, duty: Duty) -> None:
        """Watch the cluster each second; do the duty, which keeps its own time."""
        while not cluster.shutdown:
            cluster.check()
            close_old_connections()
            try:
                if not duty.beat():
                    cluster.give_up(TAKEN_OVER)
                # Only now: without the database nothing that is drained can be stored.
                if cluster.crippled and duty.show():
                    return
            except (DatabaseError, InterfaceError):
                logger.exception("the worker cannot reach the database")
                connection.close()
            cluster.wait(1)

    def _end(self, cluster: WorkerCluster, duty: Duty) -> None:
        """Drain with the heartbeat going on, and leave; 70 when a new start is needed."""
        with attendance.shown(duty, lost=lambda: cluster.give_up(TAKEN_OVER)):
            cluster.stop()
        try:
            duty.leave()
        except (DatabaseError, InterfaceError):
            logger.exception("the worker cannot reach the database")
        if cluster.crippled:
            cluster.give_up(cluster.crippled)
