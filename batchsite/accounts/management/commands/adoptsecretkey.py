# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from batchsite.accounts.installation import adopt_secret_key


class Command(BaseCommand):
    help = "Tie this database to the present SECRET_KEY, after a change of key with every process stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        adopt_secret_key()
        self.stdout.write("The database now belongs to the present SECRET_KEY.")
