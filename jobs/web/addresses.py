# SPDX-License-Identifier: Apache-2.0
"""What pages read from their addresses."""

from __future__ import annotations


def whole(text: str | None, *, default: int) -> int:
    """A whole number of the address that fits a column, else the default."""
    try:
        number = int(text or "")
    except ValueError:
        return default
    return number if -1 <= number < 2**31 else default
