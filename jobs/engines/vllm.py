# SPDX-License-Identifier: Apache-2.0
"""vLLM's command line, environment, log lines and metrics; pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# What Batchsite itself sets for every engine.
OWN_ARGUMENTS = frozenset(
    {
        *("--api-key", "--grpc", "--headless", "--host", "--lora-modules", "--model"),
        "--port",
        *("--revision", "--served-model-name", "--ssl-certfile", "--uds"),
    }
)
# Compilation takes minutes on a CPU and gains nothing; see cpu_dtype for the rest.
CPU_DEFAULTS = ("--enforce-eager",)
# vLLM's own defaults, by which a feeder sizes its window.
DEFAULT_MAX_NUM_SEQS = {"cpu": 128, "gpu": 256}
# The ranks that vLLM makes room for, and the one it takes without being told.
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
DEFAULT_LORA_RANK = 16
# Each adapter that may run beside others costs memory of the GPU; further ones take turns.
MOST_LORAS_AT_ONCE = 8
# Adapters are kept in the host's memory, with places for some that come later.
LEAST_LORA_PLACES = 16
SECRETS = re.compile(
    r"^(SECRET_KEY|DATABASE_URL|EMAIL_URL|SENTRY_DSN|PGPASSWORD|BATCHSITE_.*KEY"
    r"|BATCHSITE_.*SECRET.*|BATCHSITE_.*PASSWORD)(_FILE|_FALLBACKS)?$"
)
LOG_PREFIX = re.compile(
    r"^(\(\w+[^)]*\)\s*)?((DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d"
    r" (\[[^\]]*\] ?)+)?"
)
# Colours, and control characters, which PostgreSQL's text does not take.
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f]")
METRIC = re.compile(r"^vllm:(\w+)(?:\{[^}]*\})? ([-+0-9.eE]+|NaN)$", re.MULTILINE)
# Each of these moves while the core works: tokens, finished requests, steps, memory.
MOVING = frozenset(
    {
        *("generation_tokens_total", "prompt_tokens_total", "request_success_total"),
        *("iteration_tokens_total_count", "kv_cache_usage_perc"),
        *("num_requests_running", "num_requests_waiting"),
    }
)
CAUSE = re.compile(
    r"^[\w.]*(Error|Exception)\b.*: .+|.*\bKilled\b|.*out of memory.*", re.I
)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What of a ServedModel an engine start needs."""

    name: str
    source: str
    revision: str = ""
    engine_args: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LoraRoom:
    """What an engine start has room for: adapters of up to that rank (0: none)."""

    rank: int = 0
    places: int = 0


def is_local(source: str) -> bool:
    """Whether a model's source is a path rather than a Hugging Face id."""
    return source.startswith(("/", "./", "../", "~"))


def command_line(
    *,
    python: Path,
    module: str,
    model: ModelSpec,
    socket_path: str,
    gpu: bool,
    cpu_flags: str = "",
    lora: Sequence[str] = (),
) -> list[str]:
    """The whole command that serves `model` on a Unix socket.

    A model's own arguments come after the defaults, so that they win; what Batchsite
    relies on comes last. `cpu_flags` are those of /proc/cpuinfo, `lora` those of
    lora_arguments().
    """
    defaults = [] if gpu else [*CPU_DEFAULTS, "--dtype", cpu_dtype(cpu_flags)]
    revision = ["--revision", model.revision] if model.revision else []
    return [
        str(python),
        "-m",
        module,
        "--disable-uvicorn-access-log",
        # Else no answer says what came from the prefix cache.
        "--enable-prompt-tokens-details",
        *defaults,
        *lora,
        *model.engine_args,
        *(
            "--model",
            str(Path(model.source).expanduser())
            if is_local(model.source)
            else model.source,
        ),
        *revision,
        *("--served-model-name", model.name),
        *("--uds", socket_path),
    ]


def lora_arguments(engine_args: Sequence[str], ranks: Sequence[int]) -> list[str]:
    """Arguments that make room for adapters of these ranks (0: not known); [] for none.

    They are defaults: what `engine_args` say of --max-loras and so on wins.
    """
    if not ranks:
        return []
    least = max(rank or DEFAULT_LORA_RANK for rank in ranks)
    fits = next((rank for rank in LORA_RANKS if rank >= least), LORA_RANKS[-1])
    at_once = min(len(ranks), MOST_LORAS_AT_ONCE)
    at_once = number_of(engine_args, "--max-loras") or at_once
    places = max(len(ranks), LEAST_LORA_PLACES, at_once)
    return [
        "--enable-lora",
        *("--max-lora-rank", str(fits)),
        *("--max-loras", str(at_once)),
        *("--max-cpu-loras", str(places)),
    ]


def lora_room(arguments: Sequence[str]) -> LoraRoom:
    """The room that an engine started with these arguments has."""
    if "--enable-lora" not in arguments:
        return LoraRoom()
    places = number_of(arguments, "--max-cpu-loras") or number_of(
        arguments, "--max-loras"
    )
    return LoraRoom(
        number_of(arguments, "--max-lora-rank") or DEFAULT_LORA_RANK, places or 1
    )


def cpu_dtype(cpu_flags: str) -> str:
    """bfloat16 where the CPU multiplies it, else float32.

    Without such units bfloat16 is emulated: 16 tokens/s against 100.
    """
    flags = set(cpu_flags.split())
    return "bfloat16" if flags & {"amx_bf16", "avx512_bf16", "bf16"} else "float32"


def environment(
    inherited: Mapping[str, str],
    *,
    python: Path,
    source: str,
    gpu: bool,
    gpu_ids: str = "",
    own_python: bool = False,
    secrets: Sequence[str] = (),
    lora: bool = False,
    adapters: Sequence[str] = (),
) -> dict[str, str]:
    """The engine's environment: ours without the site's secrets, and vLLM's settings.

    `own_python` says that the engine runs on the site's interpreter, whose search path
    it then keeps. `secrets` are names of further variables to leave out. `lora` says that
    adapters can be loaded, `adapters` are the sources of those that will be. A variable
    of vLLM that is set already is kept.
    """
    dropped = {"VIRTUAL_ENV", "DJANGO_SETTINGS_MODULE", *secrets}
    if not own_python:
        dropped |= {"PYTHONPATH", "PYTHONHOME"}
    result = {
        name: value
        for name, value in inherited.items()
        if name not in dropped and not SECRETS.match(name)
    }
    result |= {
        "PYTHONUNBUFFERED": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # Engines are started by processes with threads, which fork does not survive.
        "VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn",
    }
    if lora:
        # The call that loads an adapter. Its callers share a private socket, and no
        # request of a batch can name its path.
        result["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if all(map(is_local, (source, *adapters))):
        result["HF_HUB_OFFLINE"] = "1"
    if gpu_ids:
        result["CUDA_VISIBLE_DEVICES"] = gpu_ids
    if not gpu:
        result.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        openmp = python.parent.parent / "lib" / "libiomp5.so"
        if openmp.exists():
            preload = [str(openmp), result.get("LD_PRELOAD", "")]
            result["LD_PRELOAD"] = ":".join(filter(None, preload))
    return result


def max_num_seqs(engine_args: Sequence[str], *, gpu: bool) -> int:
    """How many requests such an engine runs at once: its argument or vLLM's default.

    Each rank of data parallelism runs so many.
    """
    each = number_of(engine_args, "--max-num-seqs")
    ranks = number_of(engine_args, "--data-parallel-size", "-dp")
    return (each or DEFAULT_MAX_NUM_SEQS["gpu" if gpu else "cpu"]) * (ranks or 1)


def name_of(argument: str) -> str:
    """An argument's name as vLLM lists it: `--a_b.c=1` is `--a-b`."""
    return argument.partition("=")[0].partition(".")[0].replace("_", "-")


def value_of(engine_args: Sequence[str], *names: str) -> str:
    """The last value given by one of these names; "" when there is none."""
    given = ""
    for position, argument in enumerate(engine_args):
        if name_of(argument) in names:
            value = argument.partition("=")[2]
            given = value or " ".join(engine_args[position + 1 : position + 2])
    return given


def number_of(engine_args: Sequence[str], *names: str) -> int:
    """That value as a whole number; 0 when it is none."""
    value = value_of(engine_args, *names)
    return int(value) if value.isdecimal() else 0


def own_argument(engine_args: Sequence[str]) -> str:
    """The first argument that only Batchsite may set; "" when there is none."""
    return next(
        (name for name in map(name_of, engine_args) if name in OWN_ARGUMENTS), ""
    )


def gauges(metrics: str) -> dict[str, float | None]:
    """running, waiting, kv_cache and prefix_hits (0 to 1) from /metrics' text.

    Values of several engine cores (data parallel) are added, fractions averaged.
    """
    found: dict[str, list[float]] = {}
    for name, value in METRIC.findall(metrics):
        found.setdefault(name, []).append(float(value))
    queries = sum(found.get("prefix_cache_queries_total", []))
    hits = sum(found.get("prefix_cache_hits_total", []))
    cache = found.get("kv_cache_usage_perc", [])
    return {
        "running": sum(found.get("num_requests_running", [])),
        "waiting": sum(found.get("num_requests_waiting", [])),
        "kv_cache": sum(cache) / len(cache) if cache else None,
        "prefix_hits": hits / queries if queries else None,
    }


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an engine has come; two of them that are equal: nothing moved between.

    `requests` are those that the core has, running or waiting.
    """

    requests: float
    marks: Mapping[str, float]


def progress(metrics: str) -> Progress | None:
    """What /metrics' text says of the core; None where it does not count tokens."""
    marks: dict[str, float] = {}
    for name, value in METRIC.findall(metrics):
        if name in MOVING:
            marks[name] = marks.get(name, 0.0) + float(value)
    if "generation_tokens_total" not in marks:
        return None
    queues = ("num_requests_running", "num_requests_waiting")
    return Progress(sum(marks.get(name, 0.0) for name in queues), marks)


def log_lines(text: str) -> list[str]:
    """A log's lines for people: no colours, process names, times, progress leftovers."""
    lines = (
        LOG_PREFIX.sub("", ANSI.sub("", line)).strip()
        for line in text.replace("\r", "\n").split("\n")
    )
    return [line for line in lines if line]


def why_it_ended(text: str, *, lines_shown: int = 12, limit: int = 2000) -> str:
    """The cause in the log of an engine that ended: its error first, then its tail."""
    lines = log_lines(text)
    causes = [
        line
        for line in lines
        if CAUSE.match(line) and "See root cause above" not in line
    ]
    tail = "\n".join(lines[-lines_shown:])
    if not causes:
        return tail[-limit:]
    cause = causes[-1][:500]
    return cause if tail.strip() == cause else f"{cause}\n…\n{tail[-limit:]}"


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> str:
    """The feature flags of this host's CPU."""
    try:
        found = re.search(r"^(?:flags|Features)\s*: (.*)$", path.read_text(), re.M)
    except OSError:
        return ""
    return found[1] if found else ""
