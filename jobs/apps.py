# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"
    verbose_name = "Batches"

    def ready(self) -> None:
        """Register the system checks."""
        from .webhooks import checks  # noqa: F401 - importing registers them
