# SPDX-License-Identifier: Apache-2.0
"""Time zones by the names of the IANA database, and whose pages are written in which."""

from __future__ import annotations

import zoneinfo
from functools import cache

from django.conf import settings

# What some systems keep beside them; they tell nobody where it is.
NO_ZONES = ("Etc/", "SystemV/", "posix/", "right/")


@cache
def names() -> tuple[str, ...]:
    """Those to choose from, Area/City and UTC, by name."""
    found = (name for name in zoneinfo.available_timezones() if "/" in name)
    return ("UTC", *sorted(name for name in found if not name.startswith(NO_ZONES)))


@cache
def zone(name: str) -> zoneinfo.ZoneInfo:
    """The zone of that name; the site's for "" and for one that this host lacks."""
    try:
        return zoneinfo.ZoneInfo(name or settings.TIME_ZONE)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return zoneinfo.ZoneInfo(settings.TIME_ZONE)
