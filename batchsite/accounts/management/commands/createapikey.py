# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email

from batchsite.accounts.people import create_api_key, ensure_member


class Command(BaseCommand):
    help = (
        "Create an API key; the team and the person are made when missing."
        " The key alone is on the last line, and is not shown again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", required=True, help="the team's name")
        parser.add_argument("--user", required=True, help="the person's e-mail address")
        parser.add_argument("--name", required=True, help="what the key is for")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            validate_email(options["user"])
        except ValidationError as error:
            raise CommandError(
                f"--user must be an e-mail address, not {options['user']!r}."
            ) from error
        for option in ("team", "name"):
            if not 0 < len(options[option].strip()) <= 100:
                raise CommandError(f"--{option} must have 1 to 100 characters.")
        membership = ensure_member(
            team_name=options["team"].strip(), email=options["user"]
        )
        token = create_api_key(
            team=membership.team, user=membership.user, name=options["name"].strip()
        )
        self.stderr.write(
            f"Key {options['name']!r} for team {membership.team} and"
            f" {membership.user}. Keep it safe: it is shown only now."
        )
        self.stdout.write(token)
