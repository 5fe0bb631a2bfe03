# SPDX-License-Identifier: Apache-2.0
"""Public ids of benchmarks, shaped like those of batches."""

from __future__ import annotations

import secrets


def new_suite_id() -> str:
    return f"suite_{secrets.token_hex(12)}"


def new_run_id() -> str:
    return f"run_{secrets.token_hex(12)}"
