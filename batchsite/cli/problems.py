# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, and the exit code that scripts see. docs/guide.md has the table."""

from __future__ import annotations

OK = 0
# The batch failed, expired or was cancelled; with --strict also: rows of it failed.
BAD_END = 1
# Wrong options, or a file that cannot be used.
USAGE = 2
UNREACHABLE = 3
REFUSED = 4
# Ctrl-C, and a reader that went away: 128 and the number of the signal, as in shells.
INTERRUPTED = 130
BROKEN_PIPE = 141


class Problem(Exception):
    """Ends the command with words for people, and a code for scripts."""

    exit_code = USAGE


class Unreachable(Problem):
    """No answer, none that is Batchsite's, or no valid key."""

    exit_code = UNREACHABLE


class Away(Unreachable):
    """No answer now; a later try may get one."""


class Refused(Problem):
    """The site's answer is an error; `status` is HTTP's."""

    exit_code = REFUSED

    def __init__(self, message: str, status: int, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
