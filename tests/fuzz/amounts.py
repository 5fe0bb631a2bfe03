# SPDX-License-Identifier: Apache-2.0
"""How many inputs are generated, and how many were.

CI draws the same inputs each time, so that it never fails by chance. `make fuzz N=…`
draws about N new ones; Hypothesis prints how to repeat what failed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings

# What the numbers in the tests add up to, roughly; and the least that CI must see.
USUAL = 12_000
LEAST = 10_000
WANTED = int(os.environ.get("FUZZ_INPUTS") or USUAL)
generated: Counter[str] = Counter()
Test = TypeVar("Test", bound=Callable[..., Any])


def fuzzed(amount: int, **strategies: Any) -> Callable[[Test], Test]:
    """Run the test with that many inputs, or its share of `make fuzz N=…`."""

    def mark(test: Test) -> Test:
        drawn = settings(
            max_examples=max(amount * WANTED // USUAL, 1),
            derandomize=WANTED == USUAL,
            database=None,
            deadline=None,
            # Each input cleans up after itself, and some are big or take long.
            suppress_health_check=list(HealthCheck),
        )
        marked: Test = pytest.mark.fuzzing(drawn(given(**strategies)(test)))
        return marked

    return mark
