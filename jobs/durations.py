# SPDX-License-Identifier: Apache-2.0
"""Lengths of time in words, the same on pages and in the command line. Without Django."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """In at most two units: 1 h 40 min."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
