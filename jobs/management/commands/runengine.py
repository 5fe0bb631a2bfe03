# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import signal
import time
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import close_old_connections, connection

from batchsite.accounts.installation import check_secret_key
from jobs import processes
from jobs.engines import gpus, sharing
from jobs.engines.hostrow import HostRow, LostToken, NotAManagedEngine
from jobs.engines.registry import CannotRegister, check_engine_name
from jobs.engines.supervisor import EngineHost
from jobs.models import ServedModel


class Command(BaseCommand):
    help = (
        "Run one engine: start vLLM with the model that batches want, watch it, swap"
        " models, start it again after a crash. Stops it on SIGTERM or Ctrl-C."
    )
    # The checks import the pages and the API, of which a host needs nothing.
    requires_system_checks = ()
    signals = 0

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--name", required=True, help="the engine's name, e.g. gpu0"
        )
        parser.add_argument(
            "--gpus",
            help="the GPUs it may use, e.g. 0,1 (default: as last time, or all)",
        )
        parser.add_argument(
            "--model", default="", help="load this model before a batch asks for one"
        )
        parser.add_argument(
            "--reserved",
            action=argparse.BooleanOptionalAction,
            help="load only the models that are pinned to it (default: as last time)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            check_engine_name(options["name"])
        except CannotRegister as error:
            raise CommandError(str(error)) from error
        check_secret_key()
        if (model := options["model"]) and not (
            ServedModel.objects.loadable().filter(name=model).exists()
        ):
            raise CommandError(
                f"There is no model {model!r} that can be loaded; 'manage.py addmodel'"
                " adds one."
            )
        signal.signal(signal.SIGTERM, self.on_signal)
        signal.signal(signal.SIGINT, self.on_signal)
        processes.become_subreaper()
        try:
            row = HostRow(
                options["name"], gpu_ids=options["gpus"], reserved=options["reserved"]
            )
        except NotAManagedEngine as error:
            raise CommandError(str(error)) from error
        if not self.acquire(row):
            return
        own = gpus.read_gpus(row.gpu_ids).gpus
        for words in sharing.warnings(row.name, own, sharing.running()):
            self.stdout.write(f"Warning: {words}.")
        self.run(EngineHost(row, preload=model))

    def on_signal(self, signum: int, frame: FrameType | None) -> None:
        self.signals += 1

    def acquire(self, row: HostRow) -> bool:
        """Wait for the engine's token; False when told to stop before."""
        said = ""
        while not self.signals:
            holder = row.acquire()
            if not holder:
                return True
            if holder != said:
                self.stdout.write(f"Waiting: {holder}.")
                self.stdout.flush()
                said = holder
            self.pause(1)
        return False

    def run(self, host: EngineHost) -> None:
        """Step until a signal; then stop the engine and leave nothing behind."""
        try:
            host.open()
            self.stdout.write(f"Engine host {host.row.name} runs.")
            self.stdout.flush()
            while not self.signals:
                if not connection.in_atomic_block:
                    close_old_connections()
                host.step()
                self.pause(host.pace)
        except LostToken as error:
            self.signals = 2
            self.stop(host)
            raise CommandError(f"{error}; this one stops.") from error
        except BaseException:
            self.signals = 2
            self.stop(host)
            raise
        self.stop(host)
        host.close()

    def stop(self, host: EngineHost) -> None:
        """Stop the engine; a second signal kills it at once."""
        while not host.stop(at_once=self.signals > 1):
            time.sleep(0.05)

    def pause(self, seconds: float) -> None:
        """Sleep in slices, so that a signal is seen soon."""
        end = time.monotonic() + seconds
        while not self.signals and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
