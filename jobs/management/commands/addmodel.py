# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shlex
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.engines.registry import CannotRegister, add_model


class Command(BaseCommand):
    help = (
        "Add a model that managed engines load when batches ask for it, or change it."
        " A model that was given up after failing to load is tried again."
    )
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        # argparse takes a value that begins with "--" for an option of its own.
        if "--engine-args" in argv[:-1]:
            place = argv.index("--engine-args")
            argv = [
                *argv[:place],
                f"--engine-args={argv[place + 1]}",
                *argv[place + 2 :],
            ]
        super().run_from_argv(argv)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name that requests carry as their model")
        parser.add_argument(
            "--source", required=True, help="a folder, or a Hugging Face id: owner/name"
        )
        parser.add_argument("--revision", default="", help="branch, tag or commit")
        parser.add_argument(
            "--engine-args",
            default="",
            metavar='"…"',
            help='vLLM\'s arguments, e.g. "--tensor-parallel-size 2"',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            model, created = add_model(
                name=options["name"],
                source=options["source"],
                revision=options["revision"],
                engine_args=shlex.split(options["engine_args"]),
            )
        except ValueError as error:
            raise CommandError(f"--engine-args cannot be split: {error}.") from error
        except CannotRegister as error:
            raise CommandError(str(error)) from error
        done = "can be used in batches" if created else "was changed"
        self.stdout.write(f"Model {model} ({model.source}) {done}.")
        if model.state != model.State.ENABLED:
            self.stdout.write(f"It is {model.state}: enable it in the admin.")
