# SPDX-License-Identifier: Apache-2.0
"""What all metrics share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

# Of an answer's text and the reference, 0 to 1.
Scorer = Callable[[str, Any], float]
Params = Mapping[str, Any]


class NotScored(Exception):
    """The metric has nothing to say of this item; the message says why."""


def f1(found: Counter[Any], wanted: Counter[Any]) -> float:
    """The harmonic mean of precision and recall, by what both have in common.

    van Rijsbergen, C. J. (1979). Information Retrieval (2nd ed.), chapter 7.
    """
    if not found or not wanted:
        return float(found == wanted)
    common = (found & wanted).total()
    return 2 * common / (found.total() + wanted.total())
