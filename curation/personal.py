# SPDX-License-Identifier: Apache-2.0
"""Personal data in rows of a dataset, replaced by what kind of data it was.

E-mail addresses by their form; telephone numbers by `phonenumbers`; numbers of accounts
and cards by their check digits, with `python-stdnum`. Names are not found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import re2

from jobs.row_checks.parameters import bad

NO_LIBRARY = (
    "Personal data cannot be found here: phonenumbers and python-stdnum, the “curation”"
    " extra, are not installed."
)
# Of one text: longer ones are looked through in parts.
EMAIL = re2.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")
IBAN = re2.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
CARD = re2.compile(r"\b[0-9](?:[ -]?[0-9]){12,18}\b")
Span = tuple[int, int, str]


class Redactor:
    """Replaces what it finds, and counts it by kind in `found`.

    Refused where the libraries are not installed.
    """

    def __init__(self) -> None:
        try:
            import phonenumbers
            from stdnum import iban, luhn
        except ImportError:
            raise bad("redact", NO_LIBRARY) from None
        self._phones: Any = phonenumbers
        self._is_iban: Callable[[str], bool] = iban.is_valid
        self._is_luhn: Callable[[str], bool] = luhn.is_valid
        self.found: Counter[str] = Counter()

    def row(self, value: Any) -> Any:
        """The value with all its texts redacted; names of members stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.row(one) for one in value]
        if isinstance(value, dict):
            return {name: self.row(one) for name, one in value.items()}
        return value

    def text(self, text: str) -> str:
        """The text with `[EMAIL]`, `[PHONE]`, `[IBAN]` and `[CARD]` in their places."""
        made, at = [], 0
        for start, end, kind in _apart(self._spans(text)):
            made += [text[at:start], f"[{kind.upper()}]"]
            self.found[kind] += 1
            at = end
        return "".join([*made, text[at:]])

    def _spans(self, text: str) -> Iterator[Span]:
        for found in EMAIL.finditer(text):
            yield found.start(), found.end(), "email"
        for found in IBAN.finditer(text):
            if self._is_iban(found.group()):
                yield found.start(), found.end(), "iban"
        for found in CARD.finditer(text):
            if self._is_luhn(re.sub("[ -]", "", found.group())):
                yield found.start(), found.end(), "card"
        # Without a country's own rules: those that are written internationally.
        for match in self._phones.PhoneNumberMatcher(text, None):
            yield match.start, match.end, "phone"


def _apart(spans: Iterator[Span]) -> list[Span]:
    """The spans in their order; of those that overlap the one that begins first."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda one: (one[0], -one[1])):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept
