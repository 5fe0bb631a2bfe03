# SPDX-License-Identifier: Apache-2.0
"""Memory of a model: its files, its arguments, and the engines that there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.engines import fit, vllm
from jobs.engines.footprint import Footprint, NotKnown, fraction, kv_bytes, measure
from jobs.models import Engine

LLAMA_8B = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}
GB = 1_000_000_000


def a_folder(path: Path, config: object = LLAMA_8B, weights: int = 4000) -> str:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    for part in range(2):
        with (path / f"model-{part}.safetensors").open("wb") as file:
            # A hole: it has the size and takes no room.
            file.truncate(weights // 2)
    return str(path)


def engine(**gauges: Any) -> Engine:
    return Engine(name="gpu0", kind=Engine.Kind.MANAGED, gauges=gauges)


def gpus(*sizes: int) -> dict[str, Any]:
    return {"gpus": [{"name": "L4", "memory_total": size} for size in sizes]}


def test_kv_cache_of_a_known_model() -> None:
    # Llama 3 8B: 32 layers x 8 heads x 2 x 128 numbers of 2 bytes: 128 KiB a token.
    assert kv_bytes(LLAMA_8B, 2) == 131_072
    assert kv_bytes(LLAMA_8B | {"head_dim": 64}, 1) == 32_768
    assert kv_bytes({"n_layer": 12, "n_head": 12, "n_embd": 768}, 2) == 36_864
    latent = LLAMA_8B | {"kv_lora_rank": 512, "qk_rope_head_dim": 64}
    assert kv_bytes(latent, 2) == 32 * 576 * 2
    with pytest.raises(NotKnown, match="does not say num_hidden_layers"):
        kv_bytes({"num_hidden_layers": "x"}, 2)


def test_files_and_arguments_make_the_footprint(tmp_path: Path) -> None:
    source = a_folder(tmp_path / "m")
    need = measure(source)
    assert need == Footprint(4000, 131_072, 8192, 1)
    assert need.one_request == 131_072 * 8192
    arguments = ["--dtype=float32", "--max_model_len", "4k", "-tp", "2", "-pp", "3"]
    assert measure(source, "", arguments) == Footprint(8000, 262_144, 4000, 6)
    assert measure(source, "", ["--kv-cache-dtype", "fp8"]).kv_token == 65_536
    assert measure(source, cpu_type="float32").weights == 8000
    # Quantised weights stay as they are on the disk.
    a_folder(tmp_path / "m", LLAMA_8B | {"quantization_config": {}})
    assert measure(source, "", ["--dtype", "float32"]).weights == 4000
    # vLLM computes in float16 what is stored as float32.
    a_folder(tmp_path / "m", LLAMA_8B | {"torch_dtype": "float32"})
    assert measure(source).weights == 2000
    # A model that also sees.
    a_folder(tmp_path / "m", {"text_config": LLAMA_8B, "hidden_size": 1})
    assert measure(source).kv_token == 131_072


def test_an_index_stands_in_for_files_that_are_not_here(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    with pytest.raises(NotKnown, match="the weights are not here yet"):
        measure(str(tmp_path))
    index = tmp_path / "model.safetensors.index.json"
    index.write_text("{}")
    with pytest.raises(NotKnown, match="the weights are not here yet"):
        measure(str(tmp_path))
    index.write_text(json.dumps({"metadata": {"total_size": 16 * GB}}))
    assert measure(str(tmp_path)).weights == 16 * GB


@pytest.mark.parametrize("config", ["[]", "{", '{"a": ' * 100_000])
def test_a_config_that_is_none_is_not_known(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(NotKnown, match=r"its config\.json"):
        measure(str(tmp_path))


def test_ids_are_looked_up_in_the_cache_and_never_in_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NotKnown, match="the files are not here yet"):
        measure("Org/Model")
    cache = tmp_path / "models--Org--Model"
    (cache / "snapshots").mkdir(parents=True)
    a_folder(cache / "snapshots" / "abc")
    with pytest.raises(NotKnown, match="the files are not here yet"):
        measure("Org/Model")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc\n")
    assert measure("Org/Model").weights == 4000
    assert measure("Org/Model", "abc").weights == 4000
    with pytest.raises(NotKnown):
        measure("Org/Model", "v2")
    with pytest.raises(NotKnown, match="no name of Hugging Face's"):
        measure("Org/Model", "../../x")
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    with pytest.raises(NotKnown, match="the files are not here yet"):
        measure("Org/Model")


NEED = Footprint(weights=15 * GB, kv_token=131_072, context=8192)


def test_a_model_that_fits_says_for_how_many_tokens_there_is_room() -> None:
    found = fit.on_gpus("gpu0", NEED, [24 * GB], 0.92)
    assert found.fits
    assert found.words == (
        "needs about 18 GB of the 24 GB of gpu0's GPU (weights 15 GB, KV cache of one"
        " request of 8,192 tokens 1.1 GB, about 1.5 GB for the rest). There is room for"
        " about 42,000 tokens at once"
    )


@pytest.mark.parametrize(
    ("need", "totals", "words"),
    [
        (NEED, [8 * GB], "does not fit: needs about 18 GB of the 8.0 GB"),
        (
            Footprint(15 * GB, 131_072, 131_072),
            [24 * GB],
            "one request may have 131,072; lower it with --max-model-len",
        ),
        (
            Footprint(15 * GB, 131_072, 8192, parts=2),
            [24 * GB],
            "wants 2 GPUs, and gpu0 has 1",
        ),
    ],
)
def test_a_model_that_does_not_fit_says_why(
    need: Footprint, totals: list[int], words: str
) -> None:
    found = fit.on_gpus("gpu0", need, totals, 0.92)
    assert found.fits is False
    assert words in found.words


def test_several_gpus_share_weights_and_cache() -> None:
    need = Footprint(30 * GB, 131_072, 8192, parts=2)
    found = fit.on_gpus("gpu0", need, [24 * GB, 24 * GB, 24 * GB], 0.92)
    assert found.fits
    assert "needs about 34 GB of the 48 GB of 2 GPUs of gpu0" in found.words


def test_without_a_gpu_the_cache_has_its_own_space() -> None:
    small = Footprint(weights=GB // 2, kv_token=46_080, context=8192)
    found = fit.on_host("cpu0", small, 16 * GB, 2 * 1024**3)
    assert found.fits
    assert found.words.startswith(
        "needs about 5.0 GB of the 16 GB of cpu0's host (weights 0.5 GB, KV cache 2.1 GB"
    )
    assert fit.on_host("cpu0", small, 4 * GB, 2 * 1024**3).fits is False
    long = Footprint(weights=GB // 2, kv_token=46_080, context=131_072)
    found = fit.on_host("cpu0", long, None, 2 * 1024**3)
    assert "or set VLLM_CPU_KVCACHE_SPACE higher" in found.words


def test_each_engine_gives_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "cpu_flags", lambda: "avx2")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "4")
    source = a_folder(tmp_path / "m", weights=2 * GB)

    def words(*engines: Engine) -> list[str]:
        return [one.words for one in fit.verdicts(source, "", [], engines)]

    assert "of the 24 GB of gpu0" in words(engine(**gpus(24 * GB)))[0]
    # Twice the weights: this processor computes in float32.
    on_cpu = engine(gpus=[], gpu_note="no GPU: none", host_memory=64 * GB)
    assert "(weights 4.0 GB, KV cache 4.3 GB" in words(on_cpu)[0]
    assert "its host is not running" in words(engine())[0]
    assert "needs about 4.6 GB (weights" in words()[0]
    assert "of the" not in words()[0]
    assert fit.verdicts("/none", "", [], [engine()])[0].words == (
        "not known: the files are not on the web server's host"
    )
    assert fit.verdicts("/none", "", [], [])[0].fits is None


def test_strange_gauges_are_no_gpus() -> None:
    for strange in ("x", [3], [{"memory_total": "x"}], [{"memory_total": None}]):
        assert fit._gpus(engine(gpus=strange)) == []


@pytest.mark.parametrize(
    ("given", "part"),
    [([], 0.92), (["--gpu-memory-utilization", "0.5"], 0.5), (["--x"], 0.92)]
    + [([f"--gpu-memory-utilization={odd}"], 0.92) for odd in ("x", "7", "nan")],
)
def test_the_part_of_a_gpu_that_vllm_takes(given: list[str], part: float) -> None:
    assert fraction(given) == part
