# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from batchsite.accounts.models import ApiKey
from batchsite.accounts.people import revoke_api_key


class Command(BaseCommand):
    help = "Revoke an API key at once and for good."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "key", help="the key's first characters, as listapikeys shows them"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        start = options["key"]
        found = list(
            ApiKey.objects.filter(token_key=start).select_related("team", "user")
        )
        if not found:
            raise CommandError(f"No key starts with {start!r}; see listapikeys --all.")
        if len(found) > 1:
            raise CommandError("Several keys start so; revoke it in the admin.")
        key = found[0]
        if not revoke_api_key(key=key, by=None):
            raise CommandError(f"{key} was revoked before.")
        self.stdout.write(f"{key} of team {key.team} and {key.user} is revoked.")
