# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import holding
from jobs.refusals import Refused


class Command(BaseCommand):
    help = (
        "Send an engine no new requests; what is in flight ends. 'manage.py resumeengine'"
        " ends the pause."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the engine's name")
        parser.add_argument(
            "--drain",
            action="store_true",
            help="unload the model, too, once nothing is in flight",
        )
        parser.add_argument(
            "--reason", default="", help="shown on its card and kept in its history"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        reason = options["reason"]
        try:
            engine = holding.find(options["name"])
            if options["drain"]:
                done = holding.drain(engine=engine, user=None, reason=reason)
                words = "being drained"
            else:
                done = holding.pause(engine=engine, user=None, reason=reason)
                words = "paused"
        except Refused as error:
            raise CommandError(str(error)) from error
        already = "" if done else " already"
        self.stdout.write(f"Engine {engine} is {words}{already}.")
