# SPDX-License-Identifier: Apache-2.0
"""What a retry says of itself stays short, whatever was changed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from jobs.derivation import of_retry


def made(**over: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "chosen": False,
        "count": 2,
        "model": None,
        "body": None,
        "system_prompt": None,
    }
    return of_retry("batch_1", **(given | over))


def size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def test_short_values_are_told_and_long_ones_are_named() -> None:
    found = made(body={"temperature": None, "max_tokens": 5, "tools": ["x" * 600]})
    assert found["body_keys"] == ["temperature", "max_tokens", "tools"]
    assert found["body"] == {"temperature": None, "max_tokens": 5}


def test_a_system_prompt_is_told_by_its_beginning_and_its_hash() -> None:
    prompt = "é" * 1_000_000
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    found = made(system_prompt=prompt)["system_prompt"]
    assert found == {"sha256": digest, "start": "é" * 200}


def test_it_is_never_longer_than_4_kilobytes() -> None:
    many = {f"key-{n}": "v" * 100 for n in range(1000)}
    for body in (many, {"k" * 1_000_000: 1, "b": 2}, {"\x01" * 900: "\x01" * 80}):
        found = made(model="\x01" * 200, body=body, system_prompt="\x01" * 5000)
        assert size(found) <= 4000
    assert made(body={"k" * 1_000_000: 1, "b": 2})["body_keys"] == ["b"]
    assert len(made(body=many)["body_keys"]) > 100
