# SPDX-License-Identifier: Apache-2.0
"""The order in which a batch's requests run, and which of them need not run at all.

Requests that begin alike follow each other, so that the engine computes the common
prefix once; exact copies of deterministic requests share one answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BLOCK = 256
BLOCKS = 64
RUNS_NOT = 0xFFFFFFFF
LARGEST_MAX_TOKENS = 0xFFFFFFF
SHARED_ENOUGH = 0.2


def prefix_text(body: dict[str, Any]) -> str:
    """What the engine sees first, in its order: tools, then each message's role and content.

    At most BLOCK * BLOCKS characters, the part that ordering looks at.
    """
    parts: list[str] = []
    size = 0
    for part in _prefix_parts(body):
        parts.append(part)
        size += len(part)
        if size >= BLOCK * BLOCKS:
            break
    return "".join(parts)[: BLOCK * BLOCKS]


def _prefix_parts(body: dict[str, Any]) -> Iterator[str]:
    if body.get("tools"):
        yield _as_text(body["tools"])
    messages = body.get("messages")
    if isinstance(messages, list):
        for message in messages:
            if isinstance(message, dict):
                yield _as_text(message.get("role"))
                yield _as_text(message.get("content"))
    else:
        yield _as_text(body.get("prompt", body.get("input")))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def prefix_key(body: dict[str, Any]) -> str:
    """Hex digests (8 characters each) of the successive full 256-character blocks."""
    text = prefix_text(body)
    return "".join(
        f"{zlib.crc32(text[at : at + BLOCK].encode(errors='surrogatepass')):08x}"
        for at in range(0, len(text) - BLOCK + 1, BLOCK)
    )


def max_tokens(body: dict[str, Any]) -> int:
    """The most tokens the answer may have, as the request says; 0 when it does not."""
    for key in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        value = body.get(key)
        if isinstance(value, int) and value > 0:
            return min(value, LARGEST_MAX_TOKENS)
    return 0


def is_deterministic(body: dict[str, Any]) -> bool:
    """Whether asking twice must give one answer: temperature 0 or a seed, and n = 1."""
    n = body.get("n", 1)
    temperature = body.get("temperature")
    return n in (1, None) and (
        (isinstance(temperature, int | float) and temperature == 0)
        or body.get("seed") is not None
    )


class Spool:
    """Sort keys of a batch's requests, on disk until `sorted_keys`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "keys"
        self._out = self._path.open("w", encoding="ascii")
        self.count = 0

    def add(self, *, model: int, body: dict[str, Any], raw_body: str) -> None:
        """One request's key; requests are numbered in the order of the calls.

        Fields, in the order of sorting: model, prefix, longest answer first, digest
        of the body (D: deterministic), index.
        """
        kind = "D" if is_deterministic(body) else "N"
        digest = hashlib.blake2b(
            raw_body.encode(errors="surrogatepass"), digest_size=16
        ).hexdigest()
        self._out.write(
            f"{model:04x} {prefix_key(body)} {LARGEST_MAX_TOKENS - max_tokens(body):07x}"
            f" {kind}{digest} {self.count:08x}\n"
        )
        self.count += 1

    def sorted_keys(self) -> Path:
        """Sort the keys with coreutils' external sort (32 MB of memory)."""
        self._out.close()
        target = self._folder / "sorted"
        subprocess.run(  # noqa: S603 - fixed words and our own paths
            ["sort", "-S", "32M", "-T", self._folder, "-o", target, self._path],  # noqa: S607 - coreutils from PATH
            check=True,
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", "/usr/bin:/bin")},
        )
        self._path.unlink()
        return target


class Order:
    """For each request index: its run order, or RUNS_NOT and the index it copies."""

    def __init__(self, count: int) -> None:
        self.run_order = array("I", [RUNS_NOT]) * count
        self.copies = array("I", [RUNS_NOT]) * count

    def sequence(self) -> array[int]:
        """Request indexes in running order."""
        running = sum(1 for place in self.run_order if place != RUNS_NOT)
        sequence = array("I", [0]) * running
        for index, place in enumerate(self.run_order):
            if place != RUNS_NOT:
                sequence[place] = index
        return sequence


def decide(keys: Path, model_of: Sequence[int], *, dedupe: bool) -> Order:
    """Read the sorted keys twice: find copies and shared prefixes, then number the rest.

    Input order is kept when fewer than 20 % of the requests share two blocks beyond
    what all of them share: reordering would then gain nothing. `model_of` is each
    request's model; the models run one after another.
    """
    order = Order(len(model_of))
    shared, running = _find_copies(keys, order, dedupe=dedupe)
    if running and shared / running >= SHARED_ENOUGH:
        place = 0
        with keys.open(encoding="ascii") as lines:
            for line in lines:
                index = int(line[-9:], 16)
                if order.copies[index] == RUNS_NOT:
                    order.run_order[index] = place
                    place += 1
    else:
        _number_by_model(order, model_of)
    return order


def _number_by_model(order: Order, model_of: Sequence[int]) -> None:
    """Input order within each model: a chunk has one, and an engine swaps seldom."""
    running: Counter[int] = Counter(
        model for index, model in enumerate(model_of) if order.copies[index] == RUNS_NOT
    )
    places, start = {}, 0
    for model in sorted(running):
        places[model] = start
        start += running[model]
    for index, model in enumerate(model_of):
        if order.copies[index] == RUNS_NOT:
            order.run_order[index] = places[model]
            places[model] += 1


def _find_copies(keys: Path, order: Order, *, dedupe: bool) -> tuple[int, int]:
    """Fill order.copies; returns (requests that share a prefix, requests that run)."""
    common = _common_blocks(keys)
    shared = running = 0
    previous_prefix, previous_shares = "", False
    previous_digest, original = "", RUNS_NOT
    with keys.open(encoding="ascii") as lines:
        for line in lines:
            model, prefix, _, digest, index_hex = line.split(" ")
            index = int(index_hex, 16)
            if dedupe and digest == previous_digest and digest[0] == "D":
                order.copies[index] = original
                continue
            previous_digest, original = digest, index
            running += 1
            beyond = model + prefix[: (common + 2) * 8]
            shares = len(prefix) >= (common + 2) * 8 and beyond == previous_prefix
            if shares:
                shared += 1 if previous_shares else 2
            previous_prefix, previous_shares = beyond, shares
    return shared, running


def _common_blocks(keys: Path) -> int:
    """How many blocks all requests share: sorted keys, so the first and last decide.

    Of several models each has its first and last, and the smallest number counts.
    """
    ends: list[tuple[str, str]] = []
    model = first = last = ""
    with keys.open(encoding="ascii") as lines:
        for line in lines:
            if line[:4] != model:
                ends.append((first, last))
                model, first = line[:4], line
            last = line
    ends.append((first, last))
    return min((_same_blocks(a, b) for a, b in ends if a), default=0)


def _same_blocks(first: str, last: str) -> int:
    """How many whole blocks two key lines begin with alike."""
    a, b = first.split(" ")[1], last.split(" ")[1]
    same = next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y),
        min(len(a), len(b)),
    )
    return same // 8


def cut_chunks(
    sequence: Sequence[int],
    *,
    model_of: Sequence[int],
    size_of: Sequence[int],
    tokens_of: Sequence[int],
    rates: Sequence[float],
    seconds: float = 30,
    fewest: int = 16,
    most: int = 256,
    most_bytes: int = 8_000_000,
) -> list[tuple[int, int]]:
    """Cut a running order into [start, end) runs of one model.

    A chunk ends after about `seconds` of estimated work (tokens_of a request over its
    model's of `rates`, in tokens a second) but has at least `fewest` and at most `most` requests, and never
    more than `most_bytes` of bodies unless one request alone is larger.
    """
    chunks: list[tuple[int, int]] = []
    start, work, size = 0, 0, 0
    for place, index in enumerate(sequence):
        rows = place - start
        budget = rates[model_of[index]] * seconds
        full = rows >= most or (rows >= fewest and work + tokens_of[index] > budget)
        if rows and (
            full
            or size + size_of[index] > most_bytes
            or model_of[index] != model_of[sequence[start]]
        ):
            chunks.append((start, place))
            start, work, size = place, 0, 0
        work += tokens_of[index]
        size += size_of[index]
    if start < len(sequence):
        chunks.append((start, len(sequence)))
    return chunks
