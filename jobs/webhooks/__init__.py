# SPDX-License-Identifier: Apache-2.0
"""Telling other systems of a batch: addresses, secrets, sending and retries."""

from __future__ import annotations

from .addresses import AddressError, check_address

__all__ = ["AddressError", "check_address"]
