# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs.engines import vllm
from jobs.engines.vllm import LoraRoom, ModelSpec

PYTHON = Path("/opt/engine/bin/python")
TINY = ModelSpec("tiny", "org/tiny")


def command(model: ModelSpec = TINY, **over: Any) -> list[str]:
    """The command line, as one would read it."""
    given: dict[str, Any] = {
        "python": PYTHON,
        "module": "vllm.entrypoints.openai.api_server",
        "model": model,
        "socket_path": "/run/gpu0-1.sock",
        "gpu": False,
    }
    return vllm.command_line(**given | over)


def environment(inherited: dict[str, str] | None = None, **over: Any) -> dict[str, str]:
    given: dict[str, Any] = {"python": PYTHON, "source": "org/tiny", "gpu": False}
    return vllm.environment(inherited or {}, **given | over)


def test_command_names_model_and_socket() -> None:
    line = " ".join(command(ModelSpec("tiny", "org/tiny", "v2")))
    assert line.startswith(f"{PYTHON} -m vllm.entrypoints.openai.api_server ")
    assert line.endswith(
        "--model org/tiny --revision v2 --served-model-name tiny --uds /run/gpu0-1.sock"
    )
    assert "--disable-uvicorn-access-log" in line


def test_cpu_runs_eagerly_in_the_type_that_it_multiplies() -> None:
    assert "--enforce-eager --dtype float32" in " ".join(command(cpu_flags="avx2 fma"))
    assert "--dtype bfloat16" in " ".join(command(cpu_flags="avx512f amx_bf16"))


def test_gpu_gets_no_cpu_defaults() -> None:
    assert "--dtype" not in command(gpu=True)
    assert "--enforce-eager" not in command(gpu=True)


def test_arguments_of_the_model_come_after_the_defaults_and_before_ours() -> None:
    model = ModelSpec("tiny", "org/tiny", engine_args=["--dtype", "half"])
    line = command(model)
    last_dtype = len(line) - 1 - line[::-1].index("--dtype")
    assert line[last_dtype + 1] == "half"
    assert line.index("--uds") > last_dtype


def test_answers_tell_what_came_from_the_prefix_cache() -> None:
    line = command(ModelSpec("tiny", "org/tiny", engine_args=["--dtype", "half"]))
    assert line.index("--enable-prompt-tokens-details") < line.index("--dtype")


def test_home_in_a_path_is_expanded() -> None:
    line = command(ModelSpec("tiny", "~/models/tiny"))
    assert line[line.index("--model") + 1] == str(Path.home() / "models/tiny")


def test_secrets_of_the_site_do_not_reach_the_engine() -> None:
    secret = {
        "SECRET_KEY": "a",
        "SECRET_KEY_FILE": "/run/secrets/key",
        "DATABASE_URL": "postgres://u:p@db/x",
        "DATABASE_URL_FILE": "/run/secrets/db",
        "PGPASSWORD": "p",
        "OTHER_ENGINE_KEY": "k",
    }
    kept = {"HF_TOKEN": "hf", "PATH": "/bin", "BATCHSITE_DATA": "/data"}
    env = environment(secret | kept, secrets=["OTHER_ENGINE_KEY"])
    assert not secret.keys() & env.keys()
    assert kept.items() <= env.items()


def test_environment_reports_nothing_to_anybody_and_spawns() -> None:
    env = environment()
    assert env["VLLM_NO_USAGE_STATS"] == env["DO_NOT_TRACK"] == "1"
    assert env["VLLM_WORKER_MULTIPROCESSING_METHOD"] == "spawn"


def test_local_models_are_loaded_without_the_hub() -> None:
    assert environment(source="/models/tiny")["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in environment()


def test_gpus_are_chosen_and_the_cache_of_a_cpu_is_limited() -> None:
    env = environment(gpu=True, gpu_ids="0,1")
    assert env["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "VLLM_CPU_KVCACHE_SPACE" not in env
    assert environment()["VLLM_CPU_KVCACHE_SPACE"] == "2"
    own = environment({"VLLM_CPU_KVCACHE_SPACE": "8"})
    assert own["VLLM_CPU_KVCACHE_SPACE"] == "8"


def test_openmp_of_the_engine_is_preloaded_on_a_cpu(tmp_path: Path) -> None:
    library = tmp_path / "lib" / "libiomp5.so"
    library.parent.mkdir()
    library.touch()
    python = tmp_path / "bin" / "python"
    assert environment(python=python)["LD_PRELOAD"] == str(library)
    both = environment({"LD_PRELOAD": "/a.so"}, python=python)
    assert both["LD_PRELOAD"] == f"{library}:/a.so"
    assert "LD_PRELOAD" not in environment(python=python, gpu=True)


def test_search_path_is_kept_for_the_sites_own_interpreter_alone() -> None:
    assert "PYTHONPATH" not in environment({"PYTHONPATH": "/x"})
    kept = environment({"PYTHONPATH": "/x"}, own_python=True)
    assert kept["PYTHONPATH"] == "/x"


@pytest.mark.parametrize(
    ("arguments", "window"),
    [
        ([], 128),
        (["--max-num-seqs", "32"], 32),
        (["--max-num-seqs=8", "--dtype", "half"], 8),
        (["--max-num-seqs", "x"], 128),
        (["--max-num-seqs"], 128),
        (["--max-num-seqs", "8", "--data-parallel-size", "4"], 32),
        (["-dp=2"], 256),
        (["--max_num_seqs", "8"], 8),
        (["--max-num-seqs", "8", "--max_num_seqs=16"], 16),
    ],
)
def test_window_follows_the_models_arguments(arguments: list[str], window: int) -> None:
    assert vllm.max_num_seqs(arguments, gpu=False) == window
    assert vllm.max_num_seqs([], gpu=True) == 256


def test_room_for_adapters_is_what_they_need() -> None:
    def lora(*ranks: int, own: Sequence[str] = ()) -> str:
        return " ".join(vllm.lora_arguments(own, ranks))

    assert lora() == ""
    few = "--enable-lora --max-lora-rank 8 --max-loras 2 --max-cpu-loras 16"
    assert lora(4, 8) == few
    assert "--max-lora-rank 128" in lora(8, 100)
    # One that vLLM must download first may have any rank; this is vLLM's own default.
    assert "--max-lora-rank 16" in lora(8, 0)
    assert "--max-loras 8 --max-cpu-loras 20" in lora(*[8] * 20)
    assert "--max-loras 30 --max-cpu-loras 30" in lora(8, own=["--max-loras", "30"])


def test_room_for_adapters_is_read_from_the_arguments() -> None:
    assert vllm.lora_room(["--max-lora-rank", "64"]) == LoraRoom(0, 0)
    assert vllm.lora_room(["--enable-lora"]) == LoraRoom(16, 1)
    own = ["--max-lora-rank", "64", "--max-cpu-loras=4"]
    assert vllm.lora_room([*vllm.lora_arguments(own, [8]), *own]) == LoraRoom(64, 4)


def test_arguments_for_adapters_come_before_the_models_own() -> None:
    model = ModelSpec("tiny", "org/tiny", engine_args=["--max-loras", "3"])
    line = " ".join(command(model, lora=["--enable-lora", "--max-loras", "1"]))
    assert "--enable-lora --max-loras 1 --max-loras 3 --model" in line


def test_adapters_are_loaded_by_a_call_and_may_come_from_the_hub() -> None:
    allowed = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"
    assert allowed not in environment()
    env = environment(source="/m/tiny", lora=True, adapters=["/m/tuned"])
    assert (env[allowed], env["HF_HUB_OFFLINE"]) == ("1", "1")
    env = environment(source="/m/tiny", lora=True, adapters=["/m/tuned", "org/tuned"])
    assert "HF_HUB_OFFLINE" not in env


def test_arguments_that_batchsite_sets_are_recognised() -> None:
    assert vllm.own_argument(["--dtype", "half", "--uds=/x"]) == "--uds"
    assert vllm.own_argument(["--served_model_name=x"]) == "--served-model-name"
    assert vllm.own_argument(["--max-model-len", "4096"]) == ""


def test_gauges_add_up_over_engine_cores() -> None:
    text = (
        "# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{engine="0",model_name="m"} 3.0\n'
        'vllm:num_requests_running{engine="1",model_name="m"} 4.0\n'
        'vllm:num_requests_waiting{engine="0"} 2.0\n'
        'vllm:kv_cache_usage_perc{engine="0"} 0.5\n'
        'vllm:kv_cache_usage_perc{engine="1"} 0.25\n'
        'vllm:prefix_cache_queries_total{engine="0"} 1e+03\n'
        'vllm:prefix_cache_hits_total{engine="0"} 250.0\n'
        'vllm:external_prefix_cache_hits_total{engine="0"} 99.0\n'
    )
    assert vllm.gauges(text) == {
        "running": 7.0,
        "waiting": 2.0,
        "kv_cache": 0.375,
        "prefix_hits": 0.25,
    }
    assert vllm.gauges("")["prefix_hits"] is None


def test_log_lines_lose_colours_names_and_times() -> None:
    text = (
        "(APIServer pid=93) INFO 11-23 06:05:11 [core.py:317] Loading \x1b[1mtiny\x1b[0m\n"
        "\rLoading shards: 50%\rLoading shards: 100%\n\n\x00odd\n"
    )
    assert vllm.log_lines(text) == [
        "Loading tiny",
        "Loading shards: 50%",
        "Loading shards: 100%",
        "odd",
    ]


def test_cause_of_an_end_comes_before_the_tail_of_the_log() -> None:
    text = (
        "(EngineCore pid=9) ERROR 11-23 06:05:11 [core.py:3] Traceback\n"
        "(EngineCore pid=9) ERROR 11-23 06:05:11 [core.py:3] ValueError: no such tensor\n"
        "(APIServer pid=8) RuntimeError: Engine core initialization failed."
        " See root cause above. Failed core proc(s): {}\n"
    )
    assert vllm.why_it_ended(text).startswith("ValueError: no such tensor\n")
    assert vllm.why_it_ended("all was well\nbye") == "all was well\nbye"


def test_flags_of_the_cpu_are_read(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu amx_bf16\n\nprocessor\t: 1\n")
    assert vllm.cpu_flags(path) == "fpu amx_bf16"
    assert vllm.cpu_flags(tmp_path / "none") == ""
