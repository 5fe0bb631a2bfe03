# SPDX-License-Identifier: Apache-2.0
"""How an operation says no."""

from __future__ import annotations


class Refused(Exception):
    """The request is not acceptable; the message is for the person who made it."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class NotNow(Exception):
    """What it is about is in no state for it; the message says in which it is. A 409."""


class NotForThem(Exception):
    """The person may do this, and not with this very object; the message says why. A 403."""
