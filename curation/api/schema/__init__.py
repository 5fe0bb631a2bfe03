# SPDX-License-Identifier: Apache-2.0
"""The operations on curation, and their objects, for the API's description."""

from __future__ import annotations

from .calls import OPERATIONS
from .sent import SCHEMAS

__all__ = ["OPERATIONS", "SCHEMAS"]
