# SPDX-License-Identifier: Apache-2.0
"""What a scorer is: a function of an answer's text and the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Of an answer's text and the reference, 0 to 1.
Scorer = Callable[[str, Any], float]
Params = Mapping[str, Any]


class NotScored(Exception):
    """The metric has nothing to say of this item; the message says why."""
