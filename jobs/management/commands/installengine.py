# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

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
        self.stdout.write(self.style.SUCCESS("The engine can run."))

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
