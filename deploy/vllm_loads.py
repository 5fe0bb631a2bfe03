# SPDX-License-Identifier: Apache-2.0
"""The loads of `make bench-vllm`: what is asked, and with which engine arguments.

Each is made from a fixed seed, so that both sides and all rounds get the same file.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

SEED = 7
WORDS = [
    "river",
    "lamp",
    "harbour",
    "clock",
    "bridge",
    "garden",
    "violin",
    "compass",
    "kettle",
    "ladder",
    "orchard",
    "anchor",
    "candle",
    "meadow",
    "hammer",
    "window",
    "basket",
    "thunder",
    "copper",
    "pepper",
    "saddle",
    "marble",
    "needle",
    "ferry",
    "tunnel",
    "walnut",
    "button",
    "glacier",
    "market",
    "feather",
    "canyon",
    "lantern",
]
# Of the answers in the uniform load, in tokens.
FEWEST_TOKENS, MOST_TOKENS = 64, 128
# Of one document in the prefix loads, in words; about as many tokens.
DOCUMENT_WORDS = 900
DOCUMENTS = 12
QUESTIONS = 12


@dataclass(frozen=True, slots=True)
class Load:
    """One comparison: `goal` is the least ratio of Batchsite's speed to run_batch's.

    `bodies` makes the request bodies, without the model.
    """

    name: str
    about: str
    goal: float
    bodies: Callable[[], Iterator[dict[str, Any]]]
    engine_args: tuple[str, ...] = ("--max-num-seqs", "64")

    def lines(self, model: str) -> Iterator[dict[str, Any]]:
        """The lines of the input file."""
        for number, body in enumerate(self.bodies()):
            yield {
                "custom_id": f"r{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": model, **body},
            }


def chat(*messages: tuple[str, str], tokens: int) -> dict[str, Any]:
    """A deterministic request that is answered with exactly `tokens` tokens."""
    return {
        "messages": [{"role": role, "content": text} for role, text in messages],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
    }


def distinct(
    rows: int, lengths: Callable[[random.Random], int]
) -> Iterator[dict[str, Any]]:
    """Short requests that have nothing in common, answered at `lengths`."""
    chance = random.Random(SEED)
    for number in range(rows):
        a, b = chance.sample(WORDS, 2)
        text = f"Note {number}: what links a {a} and a {b}?"
        yield chat(("user", text), tokens=lengths(chance))


def copied(rows: int, part: float) -> Iterator[dict[str, Any]]:
    """Short requests of which `part` are exact copies of others, in shuffled order."""
    chance = random.Random(SEED)
    originals = list(distinct(round(rows * (1 - part)), lambda _: 96))
    copies = [chance.choice(originals) for _ in range(rows - len(originals))]
    mixed = originals + copies
    chance.shuffle(mixed)
    yield from mixed


def documents() -> Iterator[dict[str, Any]]:
    """Questions about a few long documents, in shuffled order."""
    chance = random.Random(SEED)
    texts = [
        " ".join(chance.choices(WORDS, k=DOCUMENT_WORDS)) for _ in range(DOCUMENTS)
    ]
    pairs = [(text, q) for text in texts for q in range(QUESTIONS)]
    chance.shuffle(pairs)
    for text, q in pairs:
        asked = f"Question {q}: which word comes after {WORDS[q]}?"
        yield chat(("system", text), ("user", asked), tokens=8)


# A document takes 8 blocks of 128 tokens, which is what vLLM has on a CPU: room for 4 of
# the 12 and what runs, or for all of them. In blocks, as vLLM on a CPU takes no notice of
# --kv-cache-memory-bytes.
LARGE_CACHE = ("--max-num-seqs", "4", "--max-model-len", "2048")
SMALL_CACHE = (*LARGE_CACHE, "--num-gpu-blocks-override", "40")


def uniform(rows: int) -> Load:
    """So many distinct short requests."""
    return Load(
        "uniform",
        f"distinct short requests, {FEWEST_TOKENS} to {MOST_TOKENS} output tokens",
        0.98,
        lambda: distinct(
            rows, lambda chance: chance.randint(FEWEST_TOKENS, MOST_TOKENS)
        ),
    )


LOADS = (
    uniform(300),
    Load(
        "mixed",
        "distinct short requests, one in ten with 384 output tokens, the rest with 16 to 64",
        0.98,
        lambda: distinct(
            400,
            lambda chance: 384 if chance.random() < 0.1 else chance.randint(16, 64),
        ),
    ),
    Load(
        "copies",
        "short requests of 96 output tokens, 30 % of them copies of others",
        1.3,
        lambda: copied(300, 0.3),
    ),
    Load(
        "prefixes",
        "12 questions about each of 12 long documents, shuffled; the cache holds 4 of them",
        1.8,
        documents,
        SMALL_CACHE,
    ),
    Load(
        "control",
        "the same questions and documents; the cache holds all of them",
        0.98,
        documents,
        LARGE_CACHE,
    ),
)
