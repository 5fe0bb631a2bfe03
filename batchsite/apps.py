# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.apps import AppConfig


class BatchsiteConfig(AppConfig):
    name = "batchsite"
    label = "batchsite"
    verbose_name = "Batchsite"

    def ready(self) -> None:
        """Have the client's address on the log lines of a request."""
        from django_structlog.signals import bind_extra_request_metadata

        from .logs import bind_address

        bind_extra_request_metadata.connect(bind_address)
