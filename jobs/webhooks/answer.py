# SPDX-License-Identifier: Apache-2.0
"""What came of one attempt. Apart from the sending, which imports an HTTP client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, or why there is none in `error`.

    `retry_after` is the receiver's wish in seconds.
    """

    status: int | None = None
    text: str = ""
    error: str = ""
    retry_after: float | None = None
    duration_ms: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the receiver took the message; redirects are not followed."""
        return self.status is not None and 200 <= self.status < 300
