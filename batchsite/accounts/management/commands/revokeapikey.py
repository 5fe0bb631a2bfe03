# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from knox.crypto import hash_token
from knox.settings import CONSTANTS

from batchsite.accounts.models import ApiKey
from batchsite.accounts.people import revoke_api_key

# What listapikeys shows of a key; longer than that is a whole key.
SHOWN = CONSTANTS.TOKEN_KEY_LENGTH
LEAST = 8


class Command(BaseCommand):
    help = "Revoke an API key at once and for good."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "key",
            help=f"the key's first characters as listapikeys shows them, {LEAST} or"
            " more of them, or the whole key",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        key = self._find(options["key"].strip())
        if not revoke_api_key(key=key, by=None):
            raise CommandError(f"{key} was revoked before.")
        self.stdout.write(f"{key} of team {key.team} and {key.user} is revoked.")

    def _find(self, given: str) -> ApiKey:
        """The one key that starts so; CommandError for none or several."""
        if len(given) < LEAST:
            raise CommandError(f"Give the key's first {LEAST} characters at least.")
        keys = ApiKey.objects.select_related("team", "user")
        if len(given) > SHOWN:
            # Of two keys that begin alike only the one that was pasted is meant.
            found = list(keys.filter(pk=hash_token(given)))
        else:
            found = list(keys.filter(token_key__startswith=given)[:2])
        if not found:
            what = f"is {given[:SHOWN]}…" if len(given) > SHOWN else f"starts {given!r}"
            raise CommandError(f"No key {what}; see listapikeys --all.")
        if len(found) > 1:
            raise CommandError(
                "Several keys start so; give more of it, or revoke it in the admin."
            )
        key: ApiKey = found[0]
        return key
