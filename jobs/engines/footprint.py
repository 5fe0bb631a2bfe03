# SPDX-License-Identifier: Apache-2.0
"""How much memory a model needs, from the files of its folder; never from the network."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import vllm

# Bytes of a number. vLLM turns float32 into float16 unless it is told otherwise.
TYPE_BYTES = {
    "float32": 4.0,
    "float": 4.0,
    "float16": 2.0,
    "half": 2.0,
    "bfloat16": 2.0,
    "fp8": 1.0,
    "fp8_e4m3": 1.0,
    "fp8_e5m2": 1.0,
}
DEFAULT_TYPE = "bfloat16"
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
# vLLM's own default of --gpu-memory-utilization.
DEFAULT_FRACTION = 0.92
MOST_CONFIG_BYTES = 10_000_000


class NotKnown(Exception):
    """Why nothing can be said about the model's memory, in words."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a model takes: bytes of weights, bytes of KV cache a token, tokens of context.

    `parts`: over how many GPUs the arguments spread it.
    """

    weights: int
    kv_token: int
    context: int
    parts: int = 1

    @property
    def one_request(self) -> int:
        """Bytes of KV cache of one request that fills the context."""
        return self.kv_token * self.context


def measure(
    source: str,
    revision: str = "",
    engine_args: Sequence[str] = (),
    *,
    cpu_type: str = "",
) -> Footprint:
    """The footprint of the model with these arguments; NotKnown.

    `cpu_type` is the type that an engine without a GPU would compute in.
    """
    folder = folder_of(source, revision)
    config = _config(folder)
    on_disk = _weights(folder)
    stored = str(config.get("torch_dtype") or config.get("dtype") or DEFAULT_TYPE)
    wanted = vllm.value_of(engine_args, "--dtype") or cpu_type or "auto"
    computed = wanted
    if wanted == "auto":
        computed = "float16" if stored in ("float32", "float") else stored
    quantised = "quantization_config" in config or vllm.value_of(
        engine_args, "--quantization"
    )
    scale = 1.0 if quantised else _bytes(computed) / _bytes(stored)
    cached = vllm.value_of(engine_args, "--kv-cache-dtype") or "auto"
    return Footprint(
        weights=round(on_disk * scale),
        kv_token=kv_bytes(config, _bytes(computed if cached == "auto" else cached)),
        context=_context(config, engine_args),
        parts=max(vllm.number_of(engine_args, "--tensor-parallel-size", "-tp"), 1)
        * max(vllm.number_of(engine_args, "--pipeline-parallel-size", "-pp"), 1),
    )


def kv_bytes(config: dict[str, Any], size: float) -> int:
    """Bytes of KV cache a token, with numbers of `size` bytes; NotKnown.

    In each layer vLLM keeps a key and a value a token: KV heads x (head size + head size
    of values) x bytes of a number (`unpadded_page_size_bytes` of its AttentionSpec in
    vllm/v1/kv_cache_interface.py). Models with latent attention keep one vector of
    kv_lora_rank + qk_rope_head_dim numbers in its place (MLAAttentionSpec, there).
    Layers with a sliding window keep less: for these it is an upper bound.
    """
    layers = _count(config, "num_hidden_layers", "n_layer")
    if rank := _perhaps(config, "kv_lora_rank"):
        numbers = rank + _perhaps(config, "qk_rope_head_dim")
        return max(round(layers * numbers * size), 1)
    heads = _count(config, "num_attention_heads", "n_head")
    kv_heads = _perhaps(config, "num_key_value_heads") or heads
    head = _perhaps(config, "head_dim")
    head = head or _count(config, "hidden_size", "n_embd") // heads
    return max(round(layers * kv_heads * 2 * head * size), 1)


def folder_of(source: str, revision: str = "") -> Path:
    """Where the model's files are on this host; NotKnown when they are not."""
    if vllm.is_local(source) or Path(source).is_dir():
        folder = Path(source).expanduser()
        if not folder.is_dir():
            raise NotKnown("the files are not on the web server's host")
        return folder
    if ".." in f"{source}/{revision}".split("/"):
        raise NotKnown("its source or revision is no name of Hugging Face's")
    cache = _hub_cache() / f"models--{source.replace('/', '--')}"
    try:
        commit = (cache / "refs" / (revision or "main")).read_text().strip()
    except OSError:
        commit = revision
    folder = cache / "snapshots" / commit
    if not commit or not folder.is_dir():
        raise NotKnown(
            "the files are not here yet; the engine's host downloads them when it loads"
            " the model for the first time"
        )
    return folder


def _hub_cache() -> Path:
    """Where huggingface_hub keeps what it downloaded."""
    if named := os.environ.get("HF_HUB_CACHE"):
        return Path(named)
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(home) / "hub"


def _config(folder: Path) -> dict[str, Any]:
    """The parts of config.json that say how the language model is built; NotKnown."""
    path = folder / "config.json"
    try:
        if path.stat().st_size > MOST_CONFIG_BYTES:
            raise NotKnown("its config.json is far too long")
        config = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise NotKnown("its config.json cannot be read") from error
    if not isinstance(config, dict):
        raise NotKnown("its config.json is no JSON object")
    # Models that also see or hear have the language model's figures in here.
    inner = config.get("text_config")
    return config | inner if isinstance(inner, dict) else config


def _weights(folder: Path) -> int:
    """Bytes of the weights: of the files, or what their index says; NotKnown."""
    for pattern in WEIGHTS:
        try:
            if size := sum(path.stat().st_size for path in folder.glob(pattern)):
                return size
        except OSError:
            continue
    for index in folder.glob("*.index.json"):
        try:
            return int(json.loads(index.read_text())["metadata"]["total_size"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    raise NotKnown("the weights are not here yet")


def _context(config: dict[str, Any], engine_args: Sequence[str]) -> int:
    """Tokens of a request at most: --max-model-len, or what the model was made for."""
    given = vllm.value_of(engine_args, "--max-model-len").lower()
    factor = 1
    for unit, times in (("k", 1000), ("m", 1_000_000)):
        if given.endswith(unit):
            given, factor = given[:-1], times
    if given.isdecimal():
        return int(given) * factor
    return _count(config, "max_position_embeddings", "n_positions", "max_seq_len")


def _perhaps(config: dict[str, Any], name: str) -> int:
    """A whole number of the config; 0 where it has none of that name."""
    value = config.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _count(config: dict[str, Any], *names: str) -> int:
    for name in names:
        if value := _perhaps(config, name):
            return value
    raise NotKnown(f"its config.json does not say {names[0]}")


def _bytes(name: str) -> float:
    return TYPE_BYTES.get(name, 2.0)


def fraction(engine_args: Sequence[str]) -> float:
    """The part of a GPU's memory that vLLM takes: --gpu-memory-utilization."""
    try:
        given = float(vllm.value_of(engine_args, "--gpu-memory-utilization"))
    except ValueError:
        return DEFAULT_FRACTION
    return given if 0 < given <= 1 else DEFAULT_FRACTION
