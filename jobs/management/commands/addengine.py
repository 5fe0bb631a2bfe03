# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.engines.registry import DEFAULT_WINDOW, CannotRegister, add_engine


class Command(BaseCommand):
    help = (
        "Add an OpenAI-compatible server that runs elsewhere, with the models it lists;"
        " run it again when they changed."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the engine's name here")
        parser.add_argument("--url", required=True, help="with or without /v1")
        parser.add_argument(
            "--api-key-env",
            default="",
            metavar="VAR",
            help="environment variable that holds the server's key",
        )
        parser.add_argument(
            "--model",
            action="append",
            default=[],
            metavar="PUBLIC=REMOTE",
            help="give the server's model REMOTE the name PUBLIC here; repeatable",
        )
        parser.add_argument(
            "--window",
            type=int,
            default=DEFAULT_WINDOW,
            help=f"most requests in flight at once (default {DEFAULT_WINDOW})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            added = add_engine(
                name=options["name"],
                url=options["url"],
                api_key_env=options["api_key_env"],
                renames=renames(options["model"]),
                window=options["window"],
            )
        except CannotRegister as error:
            raise CommandError(str(error)) from error
        names = ", ".join(
            public if public == remote else f"{public} (there: {remote})"
            for public, remote in sorted(added.models.items())
        )
        verb = "was added" if added.created else "is up to date"
        self.stdout.write(f"Engine {added.engine} {verb}. It serves: {names}.")
        if added.removed:
            self.stdout.write(f"It serves no more: {', '.join(added.removed)}.")
        if added.disabled:
            self.stdout.write(
                f"Disabled in the admin, so not usable: {', '.join(added.disabled)}."
            )


def renames(pairs: list[str]) -> dict[str, str]:
    """Public names to the server's own; CommandError for a pair that is none."""
    found: dict[str, str] = {}
    for pair in pairs:
        public, sign, remote = pair.partition("=")
        if not (public and sign and remote):
            raise CommandError(f"--model takes PUBLIC=REMOTE, not {pair!r}.")
        if public in found:
            raise CommandError(f"--model names {public!r} twice.")
        found[public] = remote
    return found
