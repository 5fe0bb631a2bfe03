# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from batchsite.accounts.models import Membership, Team
from batchsite.accounts.people import CannotChange, add_member, set_password_path


class Command(BaseCommand):
    help = (
        "Take a person into a team; both are made when missing. For somebody without a"
        " password the last line is a link that sets one, once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", required=True, help="the team's name")
        parser.add_argument("--user", required=True, help="the person's e-mail address")
        parser.add_argument(
            "--role",
            choices=Membership.Role.values,
            default=Membership.Role.MEMBER,
            help="what the person may do; default: member",
        )
        parser.add_argument(
            "--site",
            default=f"http://127.0.0.1:{settings.BATCHSITE_PORT}",
            metavar="URL",
            help="address of the site, for the link",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["team"].strip()
        if not 0 < len(name) <= 100:
            raise CommandError("--team must have 1 to 100 characters.")
        try:
            with transaction.atomic():
                team, _ = Team.objects.get_or_create(name=name)
                member = add_member(
                    team=team, email=options["user"], role=options["role"], by=None
                )
        except CannotChange as error:
            raise CommandError(str(error)) from error
        self.stderr.write(f"{member}.")
        if not member.user.has_usable_password():
            days = settings.PASSWORD_RESET_TIMEOUT // 86_400
            self.stderr.write(f"A password can be set here, once, within {days} days:")
            self.stdout.write(
                f"{options['site'].rstrip('/')}{set_password_path(member.user)}"
            )
