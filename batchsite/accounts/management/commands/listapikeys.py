# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from batchsite.accounts.models import ApiKey, Team


class Command(BaseCommand):
    help = "List API keys, newest first, one a line with tabs between the columns."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", help="only this team's keys")
        parser.add_argument(
            "--all", action="store_true", help="also revoked and expired keys"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        keys = ApiKey.objects.select_related("team", "user")
        if options["team"]:
            team = Team.objects.filter(name=options["team"]).first()
            if team is None:
                raise CommandError(f"There is no team {options['team']!r}.")
            keys = keys.of_team(team)
        if not options["all"]:
            keys = keys.usable()
        shown = 0
        for key in keys.iterator(chunk_size=500):
            if not shown:
                self.stdout.write(
                    "KEY\tNAME\tTEAM\tPERSON\tSCOPES\tSTATE\tENDS\tLAST USED\tFROM"
                )
            shown += 1
            self.stdout.write(line(key))
        if not shown:
            self.stdout.write("No keys.")


def line(key: ApiKey) -> str:
    """What is known of a key, its token's first characters in front."""
    return "\t".join(
        (
            key.token_key,
            key.name,
            str(key.team),
            str(key.user),
            ",".join(key.scopes) or "all",
            key.state,
            day(key.expiry) if key.expiry else "never",
            day(key.last_used_at),
            key.last_used_from or "-",
        )
    )


def day(at: datetime | None) -> str:
    """The minute in UTC."""
    return f"{at:%Y-%m-%dT%H:%MZ}" if at else "-"
