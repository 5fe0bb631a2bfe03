# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import holding
from jobs.refusals import Refused


class Command(BaseCommand):
    help = "Let an engine that was paused or drained take requests again."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the engine's name")
        parser.add_argument("--reason", default="", help="kept in its history")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            engine = holding.find(options["name"])
        except Refused as error:
            raise CommandError(str(error)) from error
        if holding.resume(engine=engine, user=None, reason=options["reason"]):
            self.stdout.write(f"Engine {engine} takes requests again.")
        else:
            self.stdout.write(f"Engine {engine} is not paused.")
