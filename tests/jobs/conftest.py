# SPDX-License-Identifier: Apache-2.0
"""Fixtures of several test files of the batch service."""

from __future__ import annotations

from tests.webhook_receiver import receiver as receiver
