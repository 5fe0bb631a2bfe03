# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from .suites import Suite, SuiteItem, SuiteVersion

__all__ = ["Suite", "SuiteItem", "SuiteVersion"]
