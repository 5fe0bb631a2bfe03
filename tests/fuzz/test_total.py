# SPDX-License-Identifier: Apache-2.0
"""Runs last: enough was generated."""

from __future__ import annotations

import pytest

from .amounts import LEAST, USUAL, WANTED, generated


@pytest.mark.fuzzing
def test_enough_inputs_were_generated() -> None:
    assert generated.total() >= LEAST * WANTED // USUAL
