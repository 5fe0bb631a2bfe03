# SPDX-License-Identifier: Apache-2.0
"""What a retry says of itself, for good: short, since each look at the batch shows it.

The rows' bodies say all of it; here is what a person recognizes it by.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Of the whole, as JSON in UTF-8; the names of changed members fill no more than the first.
NAMES_BYTES = 3_000
MOST_BYTES = 4_000
VALUE_BYTES = 500
START_CHARACTERS = 200


def of_retry(
    parent_id: str,
    *,
    chosen: bool,
    count: int,
    model: str | None,
    body: Mapping[str, Any] | None,
    system_prompt: str | None,
) -> dict[str, Any]:
    """The `derivation` of a child batch, at most 4,000 bytes.

    `body_keys` are the names of the members that were changed, as many as fit; `body`
    has those values that are short, null for a member that was removed. Of a system
    prompt it has the SHA-256, over UTF-8, and the first 200 characters.
    """
    made: dict[str, Any] = {
        "kind": "retry",
        "of": parent_id,
        "rows": "chosen" if chosen else "failed",
        "count": count,
        "model": model,
        "body": {} if body else None,
        "body_keys": [] if body else None,
        "system_prompt": _prompt(system_prompt),
    }
    left = NAMES_BYTES - _size(made)
    for name in body or {}:
        if (needed := _size(name) + 2) <= left:
            made["body_keys"].append(name)
            left -= needed
    left = MOST_BYTES - _size(made)
    for name in made["body_keys"] or ():
        value = (body or {})[name]
        size = _size(value)
        needed = _size(name) + size + 4
        if size <= VALUE_BYTES and needed <= left:
            made["body"][name] = value
            left -= needed
    return made


def _prompt(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    data = text.encode(errors="surrogatepass")
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "start": text[:START_CHARACTERS],
    }


def _size(value: Any) -> int:
    """Bytes of the value as JSON."""
    written = json.dumps(value, ensure_ascii=False)
    return len(written.encode(errors="surrogatepass"))
