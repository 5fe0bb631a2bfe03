# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from .runs import Cell, Run, Score
from .suites import Suite, SuiteItem, SuiteVersion

__all__ = ["Cell", "Run", "Score", "Suite", "SuiteItem", "SuiteVersion"]
