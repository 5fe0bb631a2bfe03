# SPDX-License-Identifier: Apache-2.0
"""Whether a model fits the engines that there are, in words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.models import Engine

from . import vllm
from .footprint import Footprint, NotKnown, fraction, measure

# Rules of thumb, on each GPU: CUDA's context, activations and graphs; and in a host's
# memory: Python, torch and activations (5 GB were measured for 0.5 GB of weights and a
# cache of 2 GiB).
REST_OF_GPU = 1.5e9
REST_OF_HOST = 2.4e9
GIB = 1024**3
# What Batchsite's engines get without VLLM_CPU_KVCACHE_SPACE.
DEFAULT_SPACE = 2 * GIB


@dataclass(frozen=True, slots=True)
class Verdict:
    """One engine's answer; `fits` is None where nobody can tell."""

    engine: str
    words: str
    fits: bool | None


def verdicts(
    source: str,
    revision: str,
    engine_args: Sequence[str],
    engines: Iterable[Engine],
) -> list[Verdict]:
    """What each of the managed engines would say to the model; none: what it needs."""
    found = [_verdict(source, revision, engine_args, engine) for engine in engines]
    if found:
        return found
    try:
        need = measure(source, revision, engine_args)
    except NotKnown as unknown:
        return [Verdict("", f"not known: {unknown}", None)]
    total = need.weights + need.one_request + REST_OF_GPU
    return [
        Verdict("", f"needs about {_gb(total)} ({_parts(need, REST_OF_GPU)})", None)
    ]


def _verdict(
    source: str, revision: str, engine_args: Sequence[str], engine: Engine
) -> Verdict:
    gpus = _gpus(engine)
    on_cpu = not gpus and _has_none(engine)
    cpu_type = vllm.cpu_dtype(vllm.cpu_flags()) if on_cpu else ""
    try:
        need = measure(source, revision, engine_args, cpu_type=cpu_type)
    except NotKnown as unknown:
        return Verdict(engine.name, f"not known: {unknown}", None)
    if gpus:
        return on_gpus(engine.name, need, gpus, fraction(engine_args))
    if on_cpu:
        memory = engine.gauges.get("host_memory")
        return on_host(
            engine.name, need, memory if isinstance(memory, int) else None, _kv_space()
        )
    total = need.weights + need.one_request + REST_OF_GPU
    words = (
        f"needs about {_gb(total)}; its host is not running, so its memory is not known"
    )
    return Verdict(engine.name, words, None)


def on_gpus(
    engine: str, need: Footprint, totals: Sequence[int], part: float
) -> Verdict:
    """Weights and cache spread over the GPUs that the arguments name, `part` of each.

    What is left beyond the weights is KV cache, and must hold one request at least.
    """
    if need.parts > len(totals):
        words = f"wants {need.parts} GPUs, and {engine} has {len(totals)}"
        return Verdict(engine, words, False)
    smallest = min(totals[: need.parts])
    cache = (smallest * part - REST_OF_GPU) * need.parts - need.weights
    total = need.weights + need.one_request + REST_OF_GPU * need.parts
    where = f"{engine}'s GPU" if need.parts == 1 else f"{need.parts} GPUs of {engine}"
    words = (
        f"needs about {_gb(total)} of the {_gb(smallest * need.parts)} of {where}"
        f" ({_parts(need, REST_OF_GPU * need.parts)})"
    )
    return _with_room(engine, words, need, cache, "lower it with --max-model-len")


def on_host(engine: str, need: Footprint, memory: int | None, space: int) -> Verdict:
    """Without a GPU: the cache has a space of its own, all of it in the host's memory."""
    total = need.weights + space + REST_OF_HOST
    of = f" of the {_gb(memory)} of {engine}'s host" if memory else ""
    words = (
        f"needs about {_gb(total)}{of} (weights {_gb(need.weights)}, KV cache"
        f" {_gb(space)}, about {_gb(REST_OF_HOST)} for the rest)"
    )
    if memory and total > memory:
        return Verdict(engine, f"does not fit: {words}", False)
    hint = "lower it with --max-model-len, or set VLLM_CPU_KVCACHE_SPACE higher"
    return _with_room(engine, words, need, space, hint)


def _with_room(
    engine: str, words: str, need: Footprint, cache: float, hint: str
) -> Verdict:
    """Whether one request of the whole context fits into the cache, and how many tokens."""
    if cache <= 0:
        return Verdict(engine, f"does not fit: {words}", False)
    tokens = int(cache // need.kv_token)
    if tokens < need.context:
        return Verdict(
            engine,
            f"does not fit: {words}. There is room for {tokens:,} tokens of KV cache, and"
            f" one request may have {need.context:,}; {hint}",
            False,
        )
    room = f"{words}. There is room for about {_round(tokens):,} tokens at once"
    return Verdict(engine, room, True)


def _parts(need: Footprint, rest: float) -> str:
    return (
        f"weights {_gb(need.weights)}, KV cache of one request of {need.context:,} tokens"
        f" {_gb(need.one_request)}, about {_gb(rest)} for the rest"
    )


def _gpus(engine: Engine) -> list[int]:
    """The memory of the engine's GPUs as its host read them last."""
    read: Any = engine.gauges.get("gpus")
    entries = read if isinstance(read, list) else []
    sizes = [e.get("memory_total") for e in entries if isinstance(e, dict)]
    return [size for size in sizes if isinstance(size, int) and size > 0]


def _has_none(engine: Engine) -> bool:
    """Whether the host said that it has no GPU."""
    note = engine.gauges.get("gpu_note")
    return isinstance(note, str) and note.startswith("no GPU")


def _kv_space() -> int:
    """Bytes of VLLM_CPU_KVCACHE_SPACE, which vLLM takes in GiB."""
    given = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "")
    return (int(given) if given.isdecimal() else 0) * GIB or DEFAULT_SPACE


def _round(tokens: int) -> int:
    """Two figures are all that an estimate has."""
    step: int = 10 ** max(len(str(tokens)) - 2, 0)
    return tokens // step * step


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count < 10e9 else f"{count / 1e9:.0f} GB"
