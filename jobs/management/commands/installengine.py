# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from jobs.engines import arguments
from jobs.engines.install import InstallError, install


class Command(BaseCommand):
    help = (
        "Install vLLM in an environment of its own (for the GPU, or for the CPU where"
        " there is none), and the bundled model. Does nothing where both are there."
    )
    requires_system_checks = ()
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            install(self.say)
        except InstallError as error:
            raise CommandError(str(error)) from error
        self.learn_arguments()
        self.stdout.write(self.style.SUCCESS("The engine can run."))

    def learn_arguments(self) -> None:
        """Write down which arguments this vLLM takes, so that models' are checked."""
        try:
            arguments.known()
        except arguments.CannotTell:
            self.say("Asking vLLM which arguments it takes (once)")
            try:
                self.say(f"It takes {arguments.learn()} of them.")
            except arguments.CannotTell as error:
                self.say(f"{error} Engine arguments of models are not checked.")

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
