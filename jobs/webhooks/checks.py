# SPDX-License-Identifier: Apache-2.0
"""Entries of BATCHSITE_WEBHOOK_ALLOWED that would open nothing."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

_name = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*(\.|:\d{1,5})?", re.IGNORECASE)


# The tag by which a command asks for these checks alone.
WEBHOOKS = "webhooks"


@register(WEBHOOKS)
def allowed_addresses(**_: Any) -> list[CheckMessage]:
    """Each entry must be a host name, also with a port, an address or a network."""
    return [
        Error(
            f"BATCHSITE_WEBHOOK_ALLOWED: {entry!r} is no host name, address or network.",
            hint="Write names without wildcard, with a port as HOST:25, networks as"
            " 10.1.0.0/16.",
            id="jobs.E001",
        )
        for entry in settings.BATCHSITE_WEBHOOK_ALLOWED
        if not _is_sound(entry)
    ]


def _is_sound(entry: str) -> bool:
    try:
        ipaddress.ip_network(entry.strip(), strict=False)
    except ValueError:
        # A mistyped address looks like a name of digits.
        return bool(_name.fullmatch(entry.strip())) and not re.fullmatch(
            r"[\d.]+", entry.strip()
        )
    return True
