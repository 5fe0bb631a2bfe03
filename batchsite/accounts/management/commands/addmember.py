# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from batchsite.accounts import people
from batchsite.accounts.models import Membership, Team, User

LOCAL = ("localhost", "127.0.0.1", "[::1]")


class Command(BaseCommand):
    help = (
        "Take a person into a team; both are made when missing. For somebody without a"
        " password the last line is a link that sets one, once; call it again for"
        " another link."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", required=True, help="the team's name")
        parser.add_argument("--user", required=True, help="the person's e-mail address")
        parser.add_argument(
            "--role",
            choices=Membership.Role.values,
            help="what the person may do; default: member",
        )
        parser.add_argument(
            "--site",
            default=site(),
            metavar="URL",
            help="address of the site, for the link; default: %(default)s",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["team"].strip()
        if not 0 < len(name) <= 100:
            raise CommandError("--team must have 1 to 100 characters.")
        member = waiting(name, options["user"], options["role"])
        if member is None:
            try:
                with transaction.atomic():
                    team, _ = Team.objects.get_or_create(name=name)
                    member = people.add_member(
                        team=team,
                        email=options["user"],
                        role=options["role"] or Membership.Role.MEMBER,
                        by=None,
                    )
            except people.CannotChange as error:
                raise CommandError(str(error)) from error
        else:
            people.record(
                action="member.link",
                actor=None,
                team=member.team,
                target=member.user.email,
            )
        self.stderr.write(f"{member}.")
        if not member.user.has_usable_password():
            days = settings.PASSWORD_RESET_TIMEOUT // 86_400
            self.stderr.write(f"A password can be set here, once, within {days} days:")
            self.stdout.write(
                f"{options['site'].rstrip('/')}{people.set_password_path(member.user)}"
            )


def waiting(team: str, email: str, role: str | None) -> Membership | None:
    """The membership of somebody who is in the team, with that role if one is named,
    and never had a password.
    """
    address = User.objects.normalize_email(email.strip()).lower()
    member = (
        Membership.objects.select_related("team", "user")
        .filter(team__name=team, user__email=address)
        .first()
    )
    if member is None or member.user.has_usable_password():
        return None
    return member if role in (None, member.role) else None


def site() -> str:
    """The address that people call the site by, as far as the settings tell it."""
    origins = [o for o in settings.CSRF_TRUSTED_ORIGINS if "*" not in o]
    if origins:
        return str(origins[0])
    hosts = [
        host
        for host in settings.ALLOWED_HOSTS
        if host not in LOCAL and host != "*" and not host.startswith(".")
    ]
    if settings.PRODUCTION and hosts:
        return f"https://{hosts[0]}"
    return f"http://{hosts[0] if hosts else LOCAL[1]}:{settings.BATCHSITE_PORT}"
