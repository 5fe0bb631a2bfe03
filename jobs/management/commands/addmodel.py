# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shlex
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import catalogue
from jobs.engines import arguments
from jobs.engines.registry import CannotRegister


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
        parser.add_argument(
            "--base",
            default="",
            metavar="MODEL",
            help="the source is a LoRA adapter of this model and served beside it",
        )
        parser.add_argument(
            "--request-timeout",
            type=int,
            metavar="SECONDS",
            help="for one try of one request; 0: the site's limit again, which is"
            f" {settings.BATCHSITE_REQUEST_TIMEOUT}",
        )
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "--engine",
            action="append",
            metavar="NAME",
            help="only this managed engine may load it; repeatable",
        )
        where.add_argument(
            "--any-engine",
            action="store_const",
            const=[],
            dest="engine",
            help="every engine may load it again",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            model, created = catalogue.put(
                name=options["name"],
                source=options["source"],
                revision=options["revision"],
                engine_args=shlex.split(options["engine_args"]),
                base=options["base"],
                engines=options["engine"],
                request_timeout=options["request_timeout"],
            )
        except ValueError as error:
            raise CommandError(f"--engine-args cannot be split: {error}.") from error
        except CannotRegister as error:
            raise CommandError(str(error)) from error
        done = "can be used in batches" if created else "was changed"
        kind = f"Adapter {model} of {model.base}" if model.base else f"Model {model}"
        self.stdout.write(f"{kind} ({model.source}) {done}.")
        if pins := list(model.engines.values_list("name", flat=True)):
            self.stdout.write(f"Only {' and '.join(pins)} may load it.")
        if model.request_timeout:
            self.stdout.write(f"A try may take {model.request_timeout:,} s.")
        if model.state != model.State.ENABLED:
            self.stdout.write(f"It is {model.state}: enable it on its page.")
        self.judge(model.engine_args)

    def judge(self, engine_args: list[str]) -> None:
        """Name arguments that the installed vLLM does not take; they are kept."""
        try:
            for one in arguments.unknown(engine_args):
                self.stdout.write(self.style.WARNING(one.words))
        except arguments.CannotTell as error:
            self.stdout.write(str(error))
