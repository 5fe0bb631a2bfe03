# SPDX-License-Identifier: Apache-2.0
"""Public ids of what is curated, shaped like those of batches."""

from __future__ import annotations

import secrets


def new_rubric_id() -> str:
    return f"rubric_{secrets.token_hex(12)}"


def new_queue_id() -> str:
    return f"queue_{secrets.token_hex(12)}"


def new_item_id() -> str:
    return f"item_{secrets.token_hex(12)}"


def new_dataset_id() -> str:
    return f"dataset_{secrets.token_hex(12)}"
