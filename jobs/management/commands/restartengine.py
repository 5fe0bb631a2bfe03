# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import holding
from jobs.refusals import Refused


class Command(BaseCommand):
    help = (
        "Have a managed engine's host end it and start it again with the same model;"
        " what is in flight ends before, or runs again."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the engine's name")
        parser.add_argument("--reason", default="", help="kept in its history")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            engine = holding.find(options["name"])
            done = holding.restart(engine=engine, user=None, reason=options["reason"])
        except Refused as error:
            raise CommandError(str(error)) from error
        already = "" if done else " already"
        self.stdout.write(f"Engine {engine} is being restarted{already}.")
