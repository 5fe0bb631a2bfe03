# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta
from shlex import quote
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from batchsite.accounts.people import CannotChange, create_api_key, ensure_member
from batchsite.accounts.permissions import SCOPES

# A key that lives longer than that can as well have no end.
LONGEST_DAYS = 36_500


class Command(BaseCommand):
    help = (
        "Create an API key; the team and the person are made when missing."
        " The key alone is on the last line, and is not shown again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", required=True, help="the team's name")
        parser.add_argument("--user", required=True, help="the person's e-mail address")
        parser.add_argument("--name", required=True, help="what the key is for")
        parser.add_argument(
            "--scope",
            action="append",
            default=[],
            choices=SCOPES,
            help="what the key may do; repeat it for more. Without it the key may do"
            " all that the person may",
        )
        parser.add_argument(
            "--expires-in-days",
            type=int,
            metavar="DAYS",
            help="when the key ends; without it, never",
        )

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
        days = options["expires_in_days"]
        if days is not None and not 0 < days <= LONGEST_DAYS:
            raise CommandError(f"--expires-in-days must be 1 to {LONGEST_DAYS:,}.")
        try:
            with transaction.atomic():
                membership = ensure_member(
                    team_name=options["team"].strip(), email=options["user"]
                )
                token = create_api_key(
                    team=membership.team,
                    user=membership.user,
                    name=options["name"],
                    scopes=options["scope"],
                    expiry=timedelta(days=days) if days else None,
                )
        except CannotChange as error:
            raise CommandError(str(error)) from error
        self.stderr.write(
            f"Key {options['name']!r} for team {membership.team} and"
            f" {membership.user}. Keep it safe: it is shown only now."
        )
        if not membership.user.has_usable_password():
            self.stderr.write(
                f"{membership.user} has no password and cannot sign in; a link that"
                f" sets one: manage.py addmember --team {quote(membership.team.name)}"
                f" --user {quote(membership.user.email)}"
            )
        self.stdout.write(token)
