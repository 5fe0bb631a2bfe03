# SPDX-License-Identifier: Apache-2.0
"""Public ids, shaped like OpenAI's: a prefix and random hex."""

from __future__ import annotations

import re
import secrets

_shape = re.compile(r"[A-Za-z0-9_-]{1,40}")


def new_file_id() -> str:
    return f"file-{secrets.token_hex(12)}"


def new_batch_id() -> str:
    return f"batch_{secrets.token_hex(16)}"


def new_upload_id() -> str:
    return f"upload_{secrets.token_hex(12)}"


def new_part_id() -> str:
    return f"part_{secrets.token_hex(12)}"


def new_webhook_id() -> str:
    return f"we_{secrets.token_hex(12)}"


def new_message_id() -> str:
    return f"msg_{secrets.token_hex(12)}"


def event_id(event_pk: int) -> str:
    """The id of an event of a batch's history, in webhooks and lists alike."""
    return f"evt_{event_pk:024x}"


def batch_request_id(request_pk: int) -> str:
    """The id of a request's line in the output files; the same each time they are written."""
    return f"batch_req_{request_pk:024x}"


def request_id(request_pk: int) -> str:
    """What names the answer to a request where the engine gave it no id of its own."""
    return f"req_{request_pk:024x}"


def may_be_id(text: str) -> bool:
    """Whether a row could have that public id; a database need not see anything else."""
    return _shape.fullmatch(text) is not None
