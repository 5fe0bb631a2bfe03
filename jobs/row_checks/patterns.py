# SPDX-License-Identifier: Apache-2.0
"""Regular expressions of users, run on texts of models: RE2, which cannot backtrack.

Its time grows with the length of the text, whatever the pattern; its price are
lookaround and backreferences, which it does not have.
"""

from __future__ import annotations

from typing import Any

import re2

from .outcome import CannotTell

PATTERN_LENGTH = 1000
# Of a compiled pattern and its caches. Also what keeps nested repetitions small.
MEMORY = 1 << 20
# At worst RE2 takes a step for each of a pattern's instructions at each character: so
# many of them take about a second.
STEPS = 50_000_000
CHARACTERS = 2_000_000


class BadPattern(ValueError):
    """The text is no pattern that RE2 knows; the message says why."""


class Pattern:
    """A compiled pattern, looked for anywhere in a text."""

    def __init__(self, text: str, *, ignore_case: bool = False) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MEMORY
        options.case_sensitive = not ignore_case
        try:
            self._compiled: Any = re2.compile(text, options)
        except UnicodeEncodeError:
            raise BadPattern("it has half a surrogate pair") from None
        except re2.error as error:
            raise BadPattern(_words(error)) from None

        self._longest = min(CHARACTERS, STEPS // max(self._compiled.programsize, 1))

    def is_in(self, text: str) -> bool:
        """Whether the pattern matches somewhere; lone surrogates count as "?".

        CannotTell where the text is too long for a pattern of that size.
        """
        if len(text) > self._longest:
            raise CannotTell(f"longer than {self._longest:,} characters")
        return self._compiled.search(text.encode(errors="replace").decode()) is not None


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else "it cannot be read"
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
